"""What the model has to beat, on the same split: a lexicon, and counted words.

Each gets its best for the binary task: a score of its own for it, cut on validation texts.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from mesh_classifier.answers import Classification
from mesh_classifier.calibration import LABELS, Floats
from mesh_classifier.fallback import Lexicon
from mesh_classifier.training.data import NEGATIVE, NEUTRAL, POSITIVE, Examples
from mesh_classifier.training.measure import Calibration
from mesh_classifier.training.report.systems import System
from mesh_pipelines.statistics import macro_f1
from mesh_pipelines.weighted import Labels

# Inverse strengths of regularisation that are tried on validation texts.
_STRENGTHS = (0.3, 1.0, 3.0, 10.0)
_MAX_ITERATIONS = 2000
# Scores between which a cut is searched: so many quantiles of them.
_CUTS = 200
_TINY = 1e-12


def vader(validation: Examples, test: Examples) -> System:
    """VADER (Hutto and Gilbert, ICWSM 2014) as the fallback rule applies it."""
    lexicon = Lexicon()

    def answers(texts: Sequence[str]) -> list[Classification]:
        return [lexicon.classify(text, "baseline") for text in texts]

    def scores(found: Sequence[Classification]) -> Floats:
        return np.array([answer.valence for answer in found])

    cut = _best_cut(scores(answers(validation.texts)), validation.labels)
    found = answers(test.texts)
    return System(
        shares=np.array([answer.probabilities for answer in found]),
        labels=np.array([LABELS.index(answer.label) for answer in found], dtype=np.int64),
        polarity=scores(found),
        polar=_polar(scores(found), cut),
    )


def tf_idf(training: Examples, validation: Examples, test: Examples) -> System:
    """Logistic regression on TF-IDF of words and pairs of words, calibrated as the model is.

    The binary task has a regression of its own, which learns from the texts that are not neutral.
    """
    three = _fit(training, validation)
    calibration = Calibration.fit(_logits(three, validation), validation.labels)
    system = System.calibrated(_logits(three, test), calibration)
    two = _fit(*(part.where(part.labels != NEUTRAL) for part in (training, validation)))
    cut = _best_cut(_logits(two, validation)[:, 1], validation.labels)
    polarity = _logits(two, test)[:, 1]
    return System(system.shares, system.labels, polarity, _polar(polarity, cut))


def _fit(training: Examples, validation: Examples) -> Pipeline:
    """The regression that does best on validation."""

    def fit(strength: float) -> Pipeline:
        pipeline = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
            LogisticRegression(C=strength, max_iter=_MAX_ITERATIONS),
        )
        return pipeline.fit(training.texts, training.labels)

    def goodness(pipeline: Pipeline) -> float:
        return macro_f1(validation.labels, pipeline.predict(validation.texts), len(LABELS))

    return max(map(fit, _STRENGTHS), key=goodness)


def _logits(pipeline: Pipeline, examples: Examples) -> Floats:
    shares: Floats = pipeline.predict_proba(examples.texts)
    return np.asarray(np.log(np.maximum(shares, _TINY)))


def _best_cut(scores: Floats, labels: Labels) -> float:
    """The score from which on texts are best called positive, by macro-F1 without the neutral."""
    polar = labels != NEUTRAL
    cuts = np.quantile(scores[polar], np.linspace(0, 1, _CUTS))
    return float(
        max(cuts, key=lambda cut: macro_f1(labels[polar], _polar(scores[polar], cut), len(LABELS)))
    )


def _polar(scores: Floats, cut: float) -> Labels:
    return np.where(scores >= cut, POSITIVE, NEGATIVE).astype(np.int64)
