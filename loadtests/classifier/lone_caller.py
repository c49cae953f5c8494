"""What batching costs a caller that is alone: its median latency with batches, and without.

Both are the classifier as it serves, one with batches of one text. Needs `ghz` and a trained
version.

    python3 loadtests/classifier/lone_caller.py [--form int8] [--rounds N] [--seconds S]
"""

import argparse
import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import grpc_load
from lab.load import Load
from lab.rounds import in_turn, ratio, tell

from serving import classifier

BATCHES, NO_BATCHES = "batches", "no batches"


def measure(form: str, seconds: float, settings: dict[str, str]) -> Load:
    """One caller of a new process: from one process to the next, INT8 differs by more than this."""
    with classifier(form, **settings) as (call, process):
        grpc_load.closed(call, process, in_flight=1, seconds=1)
        return grpc_load.closed(call, process, in_flight=1, seconds=seconds)


def main() -> None:
    """Measures and tells."""
    parser = argparse.ArgumentParser(description="A lone caller, with batching and without.")
    parser.add_argument("--form", choices=("int8", "fp32"), default="int8")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    chosen = parser.parse_args()
    settings = {BATCHES: {}, NO_BATCHES: {"MESH_CLASSIFIER_MAX_BATCH_SIZE": "1"}}
    measured = in_turn(
        {
            name: functools.partial(measure, chosen.form, chosen.seconds, more)
            for name, more in settings.items()
        },
        chosen.rounds,
    )
    medians = ([each.p50_ms for each in measured[name]] for name in (BATCHES, NO_BATCHES))
    tell(f"\n{chosen.form}, one caller, median latency with batches to without: {ratio(*medians)}")


if __name__ == "__main__":
    main()
