"""The lexicon rule that answers where the model fails: VADER (Hutto and Gilbert, ICWSM 2014).

The rule gives a compound score in [-1, 1], and its authors say where the labels begin. The rest was
counted on the training part of the rated texts that the model learns from (18,963 texts, split with
seed 20): the shares of the true labels among the texts that VADER calls so, and the slope of the
raters' mean valence over the compound score.
"""

from typing import Final

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from mesh_classifier.answers import Classification
from mesh_classifier.calibration import MAX_VALENCE

# From here on VADER calls a text positive, and negative from minus this on.
_BOUND: Final = 0.05
# Shares of the true labels negative, neutral, positive among the texts that VADER calls so.
_SHARES: Final = {
    "negative": (0.7205, 0.1193, 0.1602),
    "neutral": (0.3686, 0.3694, 0.2620),
    "positive": (0.2219, 0.1348, 0.6433),
}
_VALENCE_PER_COMPOUND: Final = 1.78
# The rule takes time with the square of a text's length: 0.02 s for this much, 28 s for 64 KiB.
_MAX_CHARACTERS: Final = 2000


class Lexicon:
    """The rule with its word list in memory."""

    def __init__(self) -> None:
        self._analyzer = SentimentIntensityAnalyzer()

    def classify(self, text: str, reason: str) -> Classification:
        """Applies the rule to the beginning of a text. Blocks: it reads word by word, in Python.

        Args:
            text: any text.
            reason: what made the fallback answer, for the result to say.
        """
        compound = float(self._analyzer.polarity_scores(text[:_MAX_CHARACTERS])["compound"])
        label = _label(compound)
        valence = _VALENCE_PER_COMPOUND * compound
        return Classification(
            label=label,
            probabilities=_SHARES[label],
            valence=max(-MAX_VALENCE, min(MAX_VALENCE, valence)),
            truncated=len(text) > _MAX_CHARACTERS,
            degraded=f"{reason}; the VADER lexicon rule answered",
        )


def _label(compound: float) -> str:
    if compound >= _BOUND:
        return "positive"
    return "negative" if compound <= -_BOUND else "neutral"
