"""A real classifier service without a model: its texts say how it should behave.

Run as a process, `python -m stand_in`, it serves on real sockets what the gateway calls. The rest
of it is in `stand_in_app`, which is imported once the process is set up.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence

from opentelemetry import trace
from pydantic_settings import SettingsConfigDict

import meshkit.run
from mesh.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from mesh.common.v1 import common_pb2
from meshkit import context, deadline
from meshkit.errors import InvalidArgument, Overloaded
from meshkit.settings import ServiceSettings
from stand_in_errors import error_of

MAX_TEXTS = 8
MAX_TEXT_BYTES = 64 * 1024
VERSION = "stand-in-1"
_LONG_LABEL = re.compile(r"a label of (\d+) letters")


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="MESH_CLASSIFIER_")


class StandIn(classifier_pb2_grpc.ClassifierServiceServicer):
    """Labels each text with itself; some texts have an effect of their own."""

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment
        self._counts: Counter[str] = Counter()

    async def Classify(  # noqa: N802
        self, request: classifier_pb2.ClassifyRequest, context: object
    ) -> classifier_pb2.ClassifyResponse:
        self._counts["begun"] += 1
        try:
            check(request.texts)
            results = [await self._result(text, request) for text in request.texts]
        except asyncio.CancelledError:
            self._counts["cancelled"] += 1
            raise
        self._counts["answered"] += 1
        return classifier_pb2.ClassifyResponse(results=results, lineage=self._lineage())

    async def _result(
        self, text: str, request: classifier_pb2.ClassifyRequest
    ) -> classifier_pb2.ClassifyResult:
        if wanted := error_of(text):
            raise wanted
        match text:
            case "wait":
                await asyncio.Event().wait()
            case "fault":
                raise ZeroDivisionError("a secret of the implementation")
            case "overloaded":
                raise Overloaded("the queue of the classifier is full", retry_delay_s=2.5)
            case "item error":
                error = common_pb2.ItemError(
                    code=13, reason="MODEL_FAILED", message="the model failed", retryable=True
                )
                return classifier_pb2.ClassifyResult(error=error)
        found = classifier_pb2.Classification(
            label=_said(text, request),
            probabilities=[
                classifier_pb2.LabelProbability(label="negative", probability=0.25),
                classifier_pb2.LabelProbability(label="positive", probability=0.75),
            ],
            valence=1.5,
            truncated=text == "truncated",
            degraded=common_pb2.Degraded(reason="a rule") if text == "degraded" else None,
        )
        return classifier_pb2.ClassifyResult(classification=found)

    async def GetModel(  # noqa: N802
        self, request: classifier_pb2.GetModelRequest, context: object
    ) -> classifier_pb2.GetModelResponse:
        return classifier_pb2.GetModelResponse(lineage=self._lineage(), metrics=self._counts)

    def _lineage(self) -> common_pb2.Lineage:
        return common_pb2.Lineage(
            model="classifier",
            version=VERSION,
            variant="default",
            run="none",
            deployment=self._deployment,
        )


def check(texts: Sequence[str]) -> None:
    """Refuses what the classifier refuses."""
    if not texts:
        raise InvalidArgument.of_field("texts", "is empty; send one text at least")
    if len(texts) > MAX_TEXTS:
        raise InvalidArgument.of_field(
            "texts", f"has {len(texts)} texts; send at most {MAX_TEXTS} at a time"
        )
    for index, text in enumerate(texts):
        if not text.strip():
            raise InvalidArgument.of_field(f"texts[{index}]", "is empty; send some words")
        if len(text.encode()) > MAX_TEXT_BYTES:
            raise InvalidArgument.of_field(
                f"texts[{index}]", f"is over {MAX_TEXT_BYTES} bytes; send a shorter text"
            )


def _said(text: str, request: classifier_pb2.ClassifyRequest) -> str:
    if long_label := _LONG_LABEL.fullmatch(text):
        return "x" * int(long_label[1])
    match text:
        case "who":
            asker = context.current()
            return f"{asker.key_id} {asker.tenant} {asker.request_id}" if asker else "nobody"
        case "time":
            limit = deadline.current()
            return str(limit.remaining_s) if limit else "none"
        case "trace":
            return trace.format_trace_id(trace.get_current_span().get_span_context().trace_id)
        case "allow_degraded":
            return str(request.allow_degraded)
    return text


if __name__ == "__main__":
    meshkit.run.main(Settings, "stand_in_app:app")
