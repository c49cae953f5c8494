"""Calls through the gRPC door, against a bare grpc.aio proxy of bytes.

Both pass calls on to the same echo of the classifier's contract. The door is measured with limits
and without; it authenticates, measures and logs in both. Needs `ghz`.

    python3 loadtests/gateway/grpc_rate.py [--rounds N] [--seconds S] [--calls N]
"""

import argparse
import functools
import sys
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gateway.scene import TEXT, scene
from lab.grpc_load import Call, closed
from lab.processes import ROOT, free_ports, listens, process, python
from lab.rounds import in_turn, ratio, tell

PROXY = ROOT / "loadtests" / "gateway" / "byte_proxy.py"
METHOD = "mesh.classifier.v1.ClassifierService/Classify"
BARE, LIMITED, UNLIMITED = "proxy", "door with limits", "door without limits"


def main() -> None:
    """Measures and tells."""
    parser = argparse.ArgumentParser(description="The gRPC door against a bare proxy.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--calls", type=int, default=32, help="in flight, over 4 connections")
    chosen = parser.parse_args()
    (port,) = free_ports(1)
    with ExitStack() as stack:
        limited = stack.enter_context(scene())
        unlimited = stack.enter_context(scene(MESH_GATEWAY_KEY_RATE="unlimited"))
        environment = {"TARGET": limited.target, "PORT": str(port)}
        bare = stack.enter_context(process([python("gateway"), PROXY], environment))
        bare.until(lambda: listens(port), "the proxy listens")
        calls = {
            BARE: (Call(f"127.0.0.1:{port}", METHOD, {"texts": [TEXT]}), bare),
            LIMITED: (limited.call(METHOD), limited.gateway),
            UNLIMITED: (unlimited.call(METHOD), unlimited.gateway),
        }
        found = in_turn(
            {
                name: functools.partial(
                    closed, *each, in_flight=chosen.calls, seconds=chosen.seconds
                )
                for name, each in calls.items()
            },
            chosen.rounds,
        )
    tell("\nmedians of the ratios of calls per second, door to proxy (least to most)")
    for name in (UNLIMITED, LIMITED):
        ours, theirs = ([each.rate for each in found[which]] for which in (name, BARE))
        tell(f"{name}: {ratio(ours, theirs)}")


if __name__ == "__main__":
    main()
