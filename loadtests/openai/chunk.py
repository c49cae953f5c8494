"""What a streamed chunk costs the gateway: the CPU of long streams less that of short ones.

python3 loadtests/openai/chunk.py [--rounds N] [--seconds S]
"""

import argparse
import functools
import statistics
import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab.load import Load, closed
from lab.rounds import in_turn, tell
from openai.scene import scene

_LONG, _SHORT = 201, 1
_STREAMS: Final = (1, 8, 32)


def main() -> None:
    """Measures and tells."""
    parser = argparse.ArgumentParser(description="The CPU of a streamed chunk.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    chosen = parser.parse_args()
    with scene() as ours:
        for streams in _STREAMS:
            tell(f"\n{streams} streams at once")
            found: dict[str, list[Load]] = in_turn(
                {
                    str(words): functools.partial(
                        closed,
                        ours.request(f"words {words}", stream=True),
                        ours.gateway,
                        connections=streams,
                        seconds=chosen.seconds,
                    )
                    for words in (_LONG, _SHORT)
                },
                chosen.rounds,
            )
            costs = [
                (long.cpu_us - short.cpu_us) / (_LONG - _SHORT)
                for long, short in zip(found[str(_LONG)], found[str(_SHORT)], strict=True)
            ]
            least, most = min(costs), max(costs)
            median = statistics.median(costs)
            tell(f"CPU of a chunk: {median:.1f} us ({least:.1f} to {most:.1f})")


if __name__ == "__main__":
    main()
