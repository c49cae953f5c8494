"""Texts through the whole mesh, against the classifier alone.

32 callers with one text each, some 32 tokens and never the same twice. The mesh is asked over HTTP
with all that the gateway does, and through its gRPC door; the classifier alone over gRPC. It is the
same process in all cases, in the precision that ships, and the load comes from the same cores. What
its makers cost is told with the rest: `wrk` less for a request than `ghz` for a call, which favours
HTTP a little; at the gRPC door both sides have the same one. Needs both, and a trained version.

    python3 loadtests/whole_mesh/throughput.py [--rounds N] [--seconds S] [--callers N]
"""

import argparse
import itertools
import json
import os
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from classifier.sample import texts
from gateway.scene import Scene
from lab import grpc_load, load
from lab.load import Load
from lab.processes import Together
from lab.rounds import Ratio, in_turn, ratio, tell
from whole_mesh.scene import whole

METHOD: Final = "mesh.classifier.v1.ClassifierService/Classify"
HTTP, DOOR, ALONE = "mesh over HTTP", "mesh over gRPC", "classifier alone"
_MOST_PER_S: Final = 600 * len(os.sched_getaffinity(0))
"""Texts that are at hand for each second, more than are classified; `ghz` reads all of them."""


def contenders(
    mesh: Scene, numbers: Iterator[int], callers: int, seconds: float
) -> dict[str, Callable[[], Load]]:
    """What measures each way to the classifier."""
    served = Together(mesh.gateway, mesh.service, mesh.redis)
    count = int(_MOST_PER_S * seconds)

    def fresh() -> list[dict[str, list[str]]]:
        return [{"texts": [text]} for text in texts(next(numbers) * count, count)]

    def over_http() -> Load:
        bodies = [json.dumps(each).encode() for each in fresh()]
        return load.closed(
            mesh.request, served, connections=callers, seconds=seconds, bodies=bodies
        )

    def over_grpc() -> Load:
        call = mesh.call(METHOD)
        return grpc_load.closed(call, served, in_flight=callers, seconds=seconds, requests=fresh())

    def alone() -> Load:
        call = grpc_load.Call(mesh.target, METHOD, {})
        return grpc_load.closed(
            call, mesh.service, in_flight=callers, seconds=seconds, requests=fresh()
        )

    return {HTTP: over_http, DOOR: over_grpc, ALONE: alone}


def main() -> None:
    """Measures and tells."""
    parser = argparse.ArgumentParser(description="The whole mesh against the classifier alone.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--callers", type=int, default=32)
    chosen = parser.parse_args()
    with whole() as mesh:
        ways = contenders(mesh, itertools.count(), chosen.callers, chosen.seconds)
        found = in_turn(ways, chosen.rounds)
    tell(f"\n{chosen.callers} callers, medians of ratios to the classifier alone (least to most)")
    for way in (HTTP, DOOR):
        tell(
            f"{way}, texts a second: {_compared(found[way], found[ALONE], lambda each: each.rate)}"
        )
        per_cpu_s = _compared(found[way], found[ALONE], lambda each: 1e6 / each.cpu_us)
        tell(f"{way}, texts for a CPU second of what serves: {per_cpu_s}")
    for way, loads in found.items():
        maker_us = statistics.median(each.maker_us for each in loads)
        tell(f"{way}: the load itself takes {maker_us:.0f} us of CPU a text")


def _compared(ours: list[Load], theirs: list[Load], figure: Callable[[Load], float]) -> Ratio:
    return ratio([figure(each) for each in ours], [figure(each) for each in theirs])


if __name__ == "__main__":
    main()
