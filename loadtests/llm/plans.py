"""Plans of who asks what, and what came of them."""

import json
import random
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from contenders import HERE, Contender
from lab.processes import ended_cpu_s, python

_WORDS: Final = (
    *("river", "fox", "stone", "letter", "winter", "garden", "engine", "music", "number"),
    *("island", "silver", "market", "teacher", "window", "forest", "morning", "bridge", "paper"),
    *("ocean", "story", "candle", "mountain", "table", "summer", "ladder"),
)


@dataclass(frozen=True)
class Outcome:
    """What a plan found.

    Attributes:
        tokens_per_s: generated, over all callers.
        firsts_s: time to the first token of each request, in their order.
        cpu_us: CPU of the server for a token.
        maker_us: CPU of who asked for a token.
        prompt_tokens: of the longest prompt.
    """

    tokens_per_s: float
    firsts_s: Sequence[float]
    cpu_us: float
    maker_us: float
    prompt_tokens: int

    @property
    def first_ms(self) -> float:
        """Median time to the first token."""
        return statistics.median(self.firsts_s) * 1000

    def __str__(self) -> str:
        return (
            f"{self.tokens_per_s:.1f} tokens/s, first token {self.first_ms:.0f} ms, "
            f"{self.cpu_us / 1000:.1f} ms CPU a token (and {self.maker_us:.0f} us of the load)"
        )


def texts(seed: int, count: int, words: int) -> list[str]:
    """Texts that nobody has sent before."""
    chance = random.Random(seed)  # noqa: S311  # no secret
    return [" ".join(chance.choices(_WORDS, k=words)) for _ in range(count)]


def carry_out(contender: Contender, callers: Sequence[Sequence[str]], tokens: int) -> Outcome:
    """Has each caller send its prompts, and waits for so many tokens of each.

    Raises:
        RuntimeError: not all was answered.
    """
    plan = {
        "kind": contender.kind,
        "port": contender.port,
        "key": contender.key,
        "tokens": tokens,
        "callers": callers,
    }
    command = [python("services/llm"), HERE / "asking.py"]
    began_s, made_s = contender.process.cpu_s, ended_cpu_s()
    ran = subprocess.run(
        command, input=json.dumps(plan), capture_output=True, text=True, check=False
    )
    used_s, made_s = contender.process.cpu_s - began_s, ended_cpu_s() - made_s
    if ran.returncode:
        raise RuntimeError(ran.stderr[-2000:])
    found = json.loads(ran.stdout)
    answers = found["answers"]
    total = sum(answer["tokens"] for answer in answers)
    if total != tokens * len(answers):
        raise RuntimeError(f"{total} tokens came and {tokens * len(answers)} were asked for")
    return Outcome(
        tokens_per_s=total / found["seconds"],
        firsts_s=[answer["first_s"] or answer["whole_s"] for answer in answers],
        cpu_us=used_s / total * 1e6,
        maker_us=made_s / total * 1e6,
        prompt_tokens=max(answer["prompt_tokens"] for answer in answers),
    )
