"""`POST /v1/classify` through the gateway, against a bare FastAPI -> grpc.aio hop.

Both call the same echo of the classifier's contract. The gateway does all that it does for a
caller: authentication, limits (one round trip to Redis), deadlines, metrics, 1% of traces, the
access log, lineage. Needs `wrk` and `h2load`.

    python3 loadtests/gateway/http_rate.py [--rounds N] [--seconds S]
"""

import argparse
import functools
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gateway.scene import BODY, answers, scene
from lab.load import Load, Request, closed
from lab.open_loop import attack
from lab.processes import ROOT, free_ports, process, python
from lab.rounds import in_turn, ratio, tell

HOP = ROOT / "loadtests" / "gateway" / "hop.py"
OURS, HOP_NAME = "gateway", "hop"


def main() -> None:
    """Measures and tells."""
    parser = argparse.ArgumentParser(description="The gateway against a bare hop, over HTTP.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    chosen = parser.parse_args()
    (port,) = free_ports(1)
    with scene() as ours:
        environment = {"TARGET": ours.target, "PORT": str(port)}
        with process([python("gateway"), HOP], environment) as hop:
            request = Request(
                f"http://127.0.0.1:{port}/v1/classify", BODY, {"content-type": "application/json"}
            )
            hop.until(lambda: answers(request), "the hop answers")
            contenders = {OURS: (ours.request, ours.gateway), HOP_NAME: (request, hop)}

            def measure(connections: int) -> dict[str, list[Load]]:
                tell(f"\n{connections} connections")
                loads = {
                    name: functools.partial(
                        closed, *each, connections=connections, seconds=chosen.seconds
                    )
                    for name, each in contenders.items()
                }
                return in_turn(loads, chosen.rounds)

            many, one = measure(32), measure(1)
            peak = statistics.median(each.rate for each in many[HOP_NAME])
            tell(f"\n{peak:.0f} requests a second, the hop's peak")
            steady = in_turn(
                {
                    name: functools.partial(attack, *each, rate=peak, seconds=chosen.seconds)
                    for name, each in contenders.items()
                },
                chosen.rounds,
            )
    tell("\nmedians of the ratios, gateway to hop (least to most)")
    at_peak = {name: [each.load for each in found] for name, found in steady.items()}
    for what, found, of in (
        ("requests a second, 32 connections", many, "rate"),
        ("CPU for a request, 32 connections", many, "cpu_us"),
        ("median latency, 1 connection", one, "p50_ms"),
        ("p99 at the hop's peak rate", at_peak, "p99_ms"),
    ):
        figures = ([getattr(each, of) for each in found[name]] for name in (OURS, HOP_NAME))
        tell(f"{what}: {ratio(*figures)}")


if __name__ == "__main__":
    main()
