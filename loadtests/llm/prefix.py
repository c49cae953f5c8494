"""What a prefix of 1,500 tokens costs the first request that has it, and the second.

Needs a model (`cli/mesh models train llm`) and the engine (`cli/mesh env services/llm`).

    python3 loadtests/llm/prefix.py [--rounds N] [--block 32]
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from contenders import Contender, service
from lab.rounds import ratio, tell
from plans import carry_out, texts

_TOKENS = 8
# Each is one token with the space before it, so that the prompt has 1,500 and some.
_WORDS = 1500


def pair(contender: Contender, number: int) -> tuple[float, float]:
    """Seconds to the first token of two requests that begin alike."""
    (prefix,) = texts(number, 1, _WORDS)
    questions = ("How many animals are there?", "Which word comes first?")
    asked = [[f"{prefix}. {question}" for question in questions]]
    outcome = carry_out(contender, asked, _TOKENS)
    first_s, second_s = outcome.firsts_s
    tell(
        f"round {number}: {outcome.prompt_tokens} tokens, first {first_s * 1000:.0f} ms, "
        f"second {second_s * 1000:.0f} ms"
    )
    return first_s, second_s


def main() -> None:
    """Measures and tells."""
    parser = argparse.ArgumentParser(description="A prefix that is computed once.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--block", default="64", help="tokens of a block of keys and values")
    chosen = parser.parse_args()
    with service(MESH_LLM_CACHE_BLOCK_TOKENS=chosen.block) as ours:
        pair(ours, 0)  # warms up
        pairs = [pair(ours, number) for number in range(1, chosen.rounds + 1)]
    found = ratio([first for first, _ in pairs], [second for _, second in pairs])
    tell(f"\nthe second request's first token comes {found} times sooner")


if __name__ == "__main__":
    main()
