"""The service's messages to the model's terms and back."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mesh.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from mesh.common.v1 import common_pb2
from mesh_classifier.answers import Classification
from mesh_classifier.calibration import LABELS
from mesh_classifier.model import Classifier
from meshkit.errors import MeshError
from meshkit.lineage import Lineage
from meshkit.oip import Signature, TensorSpec
from meshkit.renderings import to_item_error
from meshkit.swap import Refusal

SIGNATURE: Final = Signature(
    inputs=(TensorSpec("text", "BYTES", (-1,)),),
    outputs=(
        TensorSpec("label", "BYTES", (-1,)),
        TensorSpec("probabilities", "FP32", (-1, len(LABELS))),
        TensorSpec("valence", "FP32", (-1,)),
        TensorSpec("truncated", "BOOL", (-1,)),
        TensorSpec("degraded", "BOOL", (-1,)),
    ),
)
"""The classifier as tensors: one row for each text, probabilities in the order of the labels."""


@dataclass(frozen=True, slots=True)
class About:
    """What `GetModel` tells of the version that is serving."""

    lineage: Lineage
    precision: str
    max_length_tokens: int
    max_texts: int
    metrics: dict[str, float]
    serving_since: datetime


@dataclass(frozen=True, slots=True)
class Served:
    """One loaded version: what answers, and what is told of it."""

    classifier: Classifier
    about: About


Lease = Callable[[], AbstractContextManager[Served]]
"""Keeps the version that is serving loaded inside, so that one version makes all of an answer."""


class ClassifierServicer(classifier_pb2_grpc.ClassifierServiceServicer):
    """mesh.classifier.v1.ClassifierService."""

    def __init__(self, lease: Lease, refusal: Callable[[], Refusal | None]) -> None:
        self._lease = lease
        self._refusal = refusal

    async def Classify(  # noqa: N802  # the contract's name
        self, request: classifier_pb2.ClassifyRequest, context: object
    ) -> classifier_pb2.ClassifyResponse:
        """Classifies the texts of a request."""
        with self._lease() as served:
            outcomes = await served.classifier.classify(
                list(request.texts), allow_degraded=request.allow_degraded
            )
            return classifier_pb2.ClassifyResponse(
                results=[_result(outcome) for outcome in outcomes],
                lineage=served.about.lineage.to_proto(),
            )

    async def GetModel(  # noqa: N802  # the contract's name
        self, request: classifier_pb2.GetModelRequest, context: object
    ) -> classifier_pb2.GetModelResponse:
        """Describes the version that is serving."""
        with self._lease() as served:
            about = served.about
        response = classifier_pb2.GetModelResponse(
            lineage=about.lineage.to_proto(),
            labels=LABELS,
            max_length_tokens=about.max_length_tokens,
            max_texts=about.max_texts,
            precision=about.precision,
            metrics=about.metrics,
            signature=SIGNATURE.to_proto(),
        )
        response.serving_since.FromDatetime(about.serving_since)
        if refusal := self._refusal():
            response.refused.CopyFrom(refusal.to_proto())
        return response


def _result(outcome: Classification | MeshError) -> classifier_pb2.ClassifyResult:
    if isinstance(outcome, MeshError):
        return classifier_pb2.ClassifyResult(error=to_item_error(outcome))
    degraded = outcome.degraded
    return classifier_pb2.ClassifyResult(
        classification=classifier_pb2.Classification(
            label=outcome.label,
            probabilities=[
                classifier_pb2.LabelProbability(label=label, probability=probability)
                for label, probability in zip(LABELS, outcome.probabilities, strict=True)
            ],
            valence=outcome.valence,
            truncated=outcome.truncated,
            degraded=None if degraded is None else common_pb2.Degraded(reason=degraded),
        )
    )
