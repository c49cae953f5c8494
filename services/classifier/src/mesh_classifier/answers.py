"""What the classifier says about a text."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Classification:
    """The sentiment of one text.

    Attributes:
        label: one of the model's labels.
        probabilities: one for each label, in the model's order; they sum to 1.
        valence: strength of the sentiment, in [-4, 4].
        truncated: whether only the text's beginning counted.
        degraded: why a fallback answered, in one sentence; None for an answer of the model.
    """

    label: str
    probabilities: tuple[float, ...]
    valence: float
    truncated: bool
    degraded: str | None = None
