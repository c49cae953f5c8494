"""What a classification costs in the gateway: over the dispatch stream, and as plain unary calls.

Two gateways, each before an echo of its own, that differ only in how they call. Read the ratio, and
the CPU time of the gateway for a request; rates are the machine's. Needs `wrk`.

    python3 loadtests/gateway/bench.py [--connections N] [--seconds S] [--rounds N]
"""

import argparse
import functools
import sys
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gateway.scene import scene
from lab.load import closed
from lab.processes import python
from lab.rounds import in_turn, ratio, tell

WAYS = ("unary", "stream")


def main(arguments: argparse.Namespace) -> None:
    """Measures and tells."""
    with ExitStack() as stack:
        contenders = {}
        for way in WAYS:
            command = (python("gateway"), Path(__file__), "--serve", way)
            found = stack.enter_context(scene(*command, MESH_GATEWAY_ACCESS_LOG="false"))
            contenders[way] = functools.partial(
                closed,
                found.request,
                found.gateway,
                connections=arguments.connections,
                seconds=arguments.seconds,
            )
        found_by_way = in_turn(contenders, arguments.rounds)
    tell("\nmedians of the ratios, stream to unary (least to most)")
    for what, of in (("requests a second", "rate"), ("CPU for a request", "cpu_us")):
        unary, stream = ([getattr(each, of) for each in found_by_way[way]] for way in WAYS)
        tell(f"{what}: {ratio(stream, unary)}")


def serve(way: str) -> None:
    """Is a gateway that calls this way."""
    # What only a gateway has: the process that compares runs on any Python.
    import meshkit.client  # noqa: PLC0415
    import meshkit.run  # noqa: PLC0415
    from mesh_gateway.rounds import RoundsLoop  # noqa: PLC0415
    from mesh_gateway.settings import Settings  # noqa: PLC0415

    if way == "unary":
        # What is larger than this is a call of its own; so everything is.
        meshkit.client.MAX_PAYLOAD_BYTES = -1  # type: ignore[attr-defined]  # for this comparison alone
    meshkit.run.main(Settings, "mesh_gateway.app:app", loop=RoundsLoop)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The cost of a request in the gateway.")
    parser.add_argument("--serve", choices=WAYS, help="be a gateway")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    if chosen.serve:
        serve(chosen.serve)
    main(chosen)
