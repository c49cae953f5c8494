"""The service against `generate` of transformers behind a route of FastAPI, with 16 callers.

python3 loadtests/llm/against_transformers.py [--rounds N] [--callers N] [--tokens T]
"""

import argparse
import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from contenders import Contender, service, transformers_route
from lab.rounds import in_turn, ratio, tell
from plans import Outcome, carry_out, texts

OURS, THEIRS = "service", "transformers"
_WORDS = 24


def ask(contender: Contender, callers: int, tokens: int) -> Outcome:
    """Has so many callers send a request each."""
    prompts = texts(callers, callers, _WORDS)
    return carry_out(contender, [[f"Tell a story with: {text}."] for text in prompts], tokens)


def main() -> None:
    """Measures and tells."""
    parser = argparse.ArgumentParser(description="The LLM service against transformers.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    chosen = parser.parse_args()
    with service() as ours, transformers_route() as theirs:
        found = in_turn(
            {
                OURS: functools.partial(ask, ours, chosen.callers, chosen.tokens),
                THEIRS: functools.partial(ask, theirs, chosen.callers, chosen.tokens),
            },
            chosen.rounds,
        )
    rates = ratio(
        [each.tokens_per_s for each in found[OURS]], [each.tokens_per_s for each in found[THEIRS]]
    )
    tell(f"\n{chosen.callers} callers: {rates} times the tokens a second of transformers")


if __name__ == "__main__":
    main()
