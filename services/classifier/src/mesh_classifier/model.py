"""What the classifier can be asked, whatever the transport."""

import asyncio
import logging
from collections.abc import Sequence

from mesh_classifier.answers import Classification
from mesh_classifier.fallback import Lexicon
from meshkit import names, telemetry
from meshkit.batching import MicroBatcher
from meshkit.errors import FieldViolation, Internal, InvalidArgument, MeshError
from meshkit.texts import fault_of

_log = logging.getLogger(__name__)

_degraded = telemetry.counter(
    names.PREDICTIONS_DEGRADED, "{prediction}", "Predictions that a fallback made."
)


class Classifier:
    """Classifies the texts of many callers at once."""

    def __init__(
        self,
        batcher: MicroBatcher[str, int, Classification],
        lexicon: Lexicon,
        max_texts: int,
    ) -> None:
        self._batcher = batcher
        self._lexicon = lexicon
        self._max_texts = max_texts

    async def classify(
        self, texts: Sequence[str], *, allow_degraded: bool, field: str = "texts"
    ) -> list[Classification | MeshError]:
        """Classifies texts.

        Args:
            texts: one to `max_texts`, each with 1 byte to 64 KiB of UTF-8, not only white space.
            allow_degraded: whether the lexicon rule may answer where the model itself fails.
            field: what the request calls the texts.

        Returns:
            For each text, in their order, its classification, or the error of the model on it.

        Raises:
            InvalidArgument: names the field and each text that is wrong.
            Overloaded: more texts wait than may; none of these was read.
            DeadlineExceeded: the current deadline passed first.
            Unavailable: the process is stopping.
        """
        _check(texts, self._max_texts, field)
        outcomes = await self._batcher.submit_many(texts)
        return [
            outcome
            if isinstance(outcome, Classification)
            else await self._without_model(text, outcome, allow_degraded)
            for text, outcome in zip(texts, outcomes, strict=True)
        ]

    async def _without_model(
        self, text: str, failure: Exception, allow_degraded: bool
    ) -> Classification | MeshError:
        """What to say about a good text that the model failed on."""
        _log.error("the model failed on a text", exc_info=failure)
        if not allow_degraded:
            return Internal(
                "the model failed on this text; allow_degraded lets a lexicon rule answer instead",
                reason="MODEL_FAILED",
            )
        _degraded.add(1, {names.MODEL: "classifier"})
        return await asyncio.to_thread(
            self._lexicon.classify, text, "the model failed on this text"
        )


def _check(texts: Sequence[str], max_texts: int, field: str) -> None:
    if not texts:
        raise InvalidArgument.of_field(field, "is empty; send one text at least")
    if len(texts) > max_texts:
        raise InvalidArgument.of_field(
            field,
            f"has {len(texts)} texts and may have {max_texts}; send them in several requests",
        )
    violations = [
        FieldViolation(f"{field}[{index}]", fault)
        for index, text in enumerate(texts)
        if (fault := fault_of(text))
    ]
    if violations:
        raise InvalidArgument.of_fields(violations)
