"""The LLM service, against vLLM's own server over HTTP: tokens a second, first tokens.

The service is asked twice: over gRPC, and over HTTP through a gateway with keys and limits. All
serve the same model with the same arguments, all stream, and each is asked while the others have
nothing to do. The load comes from the same cores. Needs a model (`cli/mesh models train llm`),
the engine (`cli/mesh env services/llm`), 10 GB of memory and, on two cores, half an hour.

    python3 loadtests/llm/serving.py [--rounds N] [--tokens T] [--callers 1 8 16]
"""

import argparse
import functools
import itertools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from contenders import Contender, mesh, service, vllm_server
from lab.rounds import in_turn, ratio, tell
from plans import Outcome, carry_out, texts

SERVICE, MESH, THEIRS = "service", "mesh", "vLLM's server"
_WORDS = 24
_REQUESTS = 2
_seeds = itertools.count()


def ask(contender: Contender, callers: int, tokens: int) -> Outcome:
    """Has so many callers send some requests each, all of them new."""
    prompts = iter(texts(next(_seeds), callers * _REQUESTS, _WORDS))
    plan = [
        [f"Tell a story with: {next(prompts)}." for _ in range(_REQUESTS)] for _ in range(callers)
    ]
    return carry_out(contender, plan, tokens)


def compare(contenders: Mapping[str, Contender], callers: int, rounds: int, tokens: int) -> None:
    """Measures and tells one number of callers."""
    loads: dict[str, Callable[[], Outcome]] = {
        name: functools.partial(ask, each, callers, tokens) for name, each in contenders.items()
    }
    tell(f"\n{callers} callers, {tokens} tokens each time")
    found = in_turn(loads, rounds)
    other = found[THEIRS]
    for name in (SERVICE, MESH):
        one = found[name]
        rates = ratio([each.tokens_per_s for each in one], [each.tokens_per_s for each in other])
        firsts = ratio([each.first_ms for each in one], [each.first_ms for each in other])
        costs = ratio([each.cpu_us for each in one], [each.cpu_us for each in other])
        tell(f"{name}, {callers} callers: {rates} of the server's tokens a second")
        tell(f"{name}, {callers} callers: {firsts} of its median time to the first token")
        tell(f"{name}, {callers} callers: {costs} of its CPU for a token")


def main() -> None:
    """Measures and tells."""
    parser = argparse.ArgumentParser(description="The LLM service against vLLM's own server.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 8, 16])
    chosen = parser.parse_args()
    with service() as ours, mesh(ours) as door, vllm_server() as theirs:
        contenders = {SERVICE: ours, MESH: door, THEIRS: theirs}
        for callers in chosen.callers:
            compare(contenders, callers, chosen.rounds, chosen.tokens)


if __name__ == "__main__":
    main()
