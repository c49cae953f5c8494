"""Whether what a request costs depends on how many connections there are.

`POST /v1/classify` through the gateway, before an echo of the classifier's contract, over 1 to 256
connections that each ask one thing at a time. At 256 there must be at least 0.9 of the most
requests a second that any number of connections gets. Needs `wrk`.

    python3 loadtests/gateway/flat.py [--rounds N] [--seconds S]
"""

import argparse
import functools
import statistics
import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gateway.scene import scene
from lab.load import closed
from lab.rounds import in_turn, ratio, tell

CONNECTIONS: Final = (1, 4, 16, 32, 64, 128, 256)
MOST: Final = CONNECTIONS[-1]


def main() -> None:
    """Measures and tells."""
    parser = argparse.ArgumentParser(description="The gateway over 1 to 256 connections.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    chosen = parser.parse_args()
    with scene() as ours:
        measured = in_turn(
            {
                f"{connections} connections": functools.partial(
                    closed,
                    ours.request,
                    ours.gateway,
                    connections=connections,
                    seconds=chosen.seconds,
                )
                for connections in CONNECTIONS
            },
            chosen.rounds,
        )
    by_connections = dict(zip(CONNECTIONS, measured.values(), strict=True))
    rates = {each: [load.rate for load in loads] for each, loads in by_connections.items()}
    peak = max(rates, key=lambda each: statistics.median(rates[each]))
    tell("\nconnections, medians: requests a second, CPU for a request, ratio to the peak")
    for each, loads in by_connections.items():
        rate = statistics.median(rates[each])
        cpu_us = statistics.median(load.cpu_us for load in loads)
        tell(f"{each:>4}: {rate:>6.0f}/s, {cpu_us:>4.0f} us, {ratio(rates[each], rates[peak])}")
    tell(f"{MOST} connections to the peak, at {peak}: {ratio(rates[MOST], rates[peak])}")


if __name__ == "__main__":
    main()
