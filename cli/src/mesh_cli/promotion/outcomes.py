"""What came of a gate."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class Verdict(enum.StrEnum):
    """Whether a version may pass."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"  # there was nothing to hold the version against


@dataclass(frozen=True)
class Outcome:
    """The verdict of one gate, in words and in figures."""

    gate: str
    verdict: Verdict
    summary: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it is kept with the promotion."""
        return {
            "gate": self.gate,
            "verdict": self.verdict.value,
            "summary": self.summary,
            "figures": dict(self.figures),
        }


def judged(
    gate: str, faults: Sequence[str], otherwise: str, figures: Mapping[str, Any] | None = None
) -> Outcome:
    """Failed with all its faults where there are any, else passed."""
    verdict = Verdict.FAILED if faults else Verdict.PASSED
    return Outcome(gate, verdict, "; ".join(faults) or otherwise, figures or {})


def failed(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those that stand in the way."""
    return [outcome for outcome in outcomes if outcome.verdict is Verdict.FAILED]
