"""Calls to a classifier that is about to be promoted, and what is wrong with its answers."""

import math
from collections.abc import Iterator, Sequence, Sized
from typing import Protocol

from mesh.classifier.v1 import classifier_pb2
from mesh.classifier.v1.classifier_pb2_grpc import ClassifierServiceStub
from mesh.common.v1 import common_pb2
from mesh_cli.promotion.patience import patiently
from meshkit.client import Client

_MAX_VALENCE = 4.0
_ROUNDING = 1e-6

Response = classifier_pb2.ClassifyResponse
Classification = classifier_pb2.Classification


async def classify(client: Client, texts: Sequence[str]) -> Response:
    """Classifies texts, without a fallback; comes back when the server says that it is too busy.

    Raises:
        MeshError: the server did not answer in a minute.
    """
    request = classifier_pb2.ClassifyRequest(texts=texts, allow_degraded=False)
    stub = client.stub(ClassifierServiceStub)
    response: Response = await patiently(lambda: stub.Classify(request))
    return response


class Answer(Protocol):
    """What the answers of every service have."""

    @property
    def lineage(self) -> common_pb2.Lineage:
        """Which version answered."""

    @property
    def results(self) -> Sized:
        """One for each text."""


def mismatches(response: Answer, texts: Sequence[str], version: str) -> list[str]:
    """Where an answer is another version's, or to another number of texts."""
    found = []
    if response.lineage.version != version:
        found.append(f"version {response.lineage.version!r} answered instead of {version}")
    if len(response.results) != len(texts):
        found.append(f"{len(response.results)} results to {len(texts)} texts")
    return found


def faults(
    response: Response, texts: Sequence[str], version: str, labels: Sequence[str]
) -> list[str]:
    """What no sound answer says; empty for a sound one."""
    found = mismatches(response, texts, version)
    for result in response.results:
        if result.WhichOneof("outcome") != "classification":
            found.append(f"a text got the error {result.error.reason}: {result.error.message}")
        else:
            found.extend(_unsound(result.classification, labels))
    return found


def probabilities(answer: Classification) -> dict[str, float]:
    """The probability of each label."""
    return {each.label: each.probability for each in answer.probabilities}


def _unsound(answer: Classification, labels: Sequence[str]) -> Iterator[str]:
    given = probabilities(answer)
    if answer.HasField("degraded"):
        yield f"a fallback answered: {answer.degraded.reason}"
    if list(given) != list(labels) or answer.label not in labels:
        yield f"the label {answer.label!r} of {list(given)}, and the model has {list(labels)}"
    in_range = all(0 <= value <= 1 for value in given.values())
    if not (in_range and math.isclose(sum(given.values()), 1, abs_tol=_ROUNDING)):
        yield f"the probabilities {given}, which are none"
    if not abs(answer.valence) <= _MAX_VALENCE:
        yield f"the valence {answer.valence}, outside of -4 to 4"
