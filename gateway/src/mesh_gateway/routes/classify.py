"""`POST /v1/classify`: texts in, labels with calibrated probabilities out."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from mesh.classifier.v1 import classifier_pb2
from mesh.classifier.v1.classifier_pb2_grpc import ClassifierServiceStub
from mesh_gateway import bodies, schemas
from mesh_gateway.admission import Admission, Takes, Target
from mesh_gateway.auth import presented_key
from mesh_gateway.direct import Body, WholeRoute
from mesh_gateway.exchange import Exchange
from mesh_gateway.lineage_log import LineageLog
from mesh_gateway.openapi import Operation
from meshkit import names
from meshkit.client import Client
from meshkit.scopes import PREDICT

PATH: Final = "/v1/classify"
_TARGET: Final = Target("classifier", PREDICT)

# The limits of the values are the classifier's own, and it says what is wrong with them; here they
# only stand in the document.
_Text = Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": 64 * 1024})]


class ClassifyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Texts to classify."""

    texts: Annotated[
        list[_Text],
        Meta(
            description="The texts, each of 1 byte to 64 KiB of UTF-8 and not only white space.",
            examples=[["A quiet film that stays with you.", "The plot goes nowhere, slowly."]],
            extra_json_schema={"minItems": 1},
        ),
    ]
    allow_degraded: Annotated[
        bool,
        Meta(description="Whether a lexicon rule may answer where the model itself fails."),
    ] = True


class Classification(msgspec.Struct, frozen=True, tag_field="status", tag="ok"):
    """What the model says of one text."""

    label: Annotated[str, Meta(description='"negative", "neutral" or "positive".')]
    probabilities: Annotated[
        dict[str, float], Meta(description="Calibrated probability of each label; they sum to 1.")
    ]
    valence: Annotated[
        float, Meta(description="Strength of the sentiment, from -4 to 4.", ge=-4, le=4)
    ]
    truncated: Annotated[
        bool,
        Meta(description="Whether only the beginning of the text counted, as it was too long."),
    ]
    degraded: Annotated[
        schemas.Degraded | None, Meta(description="Present where the lexicon rule answered.")
    ]


class Failure(msgspec.Struct, frozen=True, tag_field="status", tag="error"):
    """A text that has no answer while its neighbours have one."""

    error: schemas.ItemError


class ClassifyResponse(msgspec.Struct, frozen=True):
    """One result for each text, in their order."""

    results: list[Classification | Failure]
    lineage: schemas.Lineage


_decoder: Final = msgspec.json.Decoder(ClassifyRequest)
_encoder: Final = msgspec.json.Encoder()


class Classify:
    """Answers the route.

    Args:
        admission: lets callers in.
        classifier: client of the service.
        lineage_log: remembers what answered; None to remember nothing.
    """

    def __init__(
        self, admission: Admission, classifier: Client, lineage_log: LineageLog | None
    ) -> None:
        self._admission = admission
        self._stub = classifier.stub(ClassifierServiceStub)
        self._lineage_log = lineage_log

    async def __call__(self, exchange: Exchange, body: Body) -> bytes:
        """Answers one request."""
        presented = presented_key(exchange.header("authorization"), exchange.header(names.API_KEY))
        async with self._admission.admit(presented, _TARGET, exchange, Takes.MEANWHILE):
            bodies.check_type(exchange)
            request = bodies.decode(_decoder, await body())
            with exchange.calling():
                answer = await self._stub.Classify(
                    classifier_pb2.ClassifyRequest(
                        texts=request.texts, allow_degraded=request.allow_degraded
                    )
                )
        if self._lineage_log:
            self._lineage_log.add(exchange.request_id, answer.lineage)
        return _encoder.encode(_response(answer))


def route(
    admission: Admission, classifier: Client, lineage_log: LineageLog | None, timeout_s: float
) -> WholeRoute:
    """The route, with what it needs."""
    answers = Classify(admission, classifier, lineage_log)
    return WholeRoute(PATH, answers, _OPERATION, timeout_s)


def _response(answer: classifier_pb2.ClassifyResponse) -> ClassifyResponse:
    return ClassifyResponse(
        results=[_result(result) for result in answer.results],
        lineage=schemas.lineage(answer.lineage),
    )


def _result(result: classifier_pb2.ClassifyResult) -> Classification | Failure:
    if result.WhichOneof("outcome") == "error":
        return Failure(schemas.item_error(result.error))
    found = result.classification
    degraded = schemas.Degraded(found.degraded.reason) if found.HasField("degraded") else None
    return Classification(
        label=found.label,
        probabilities={each.label: each.probability for each in found.probabilities},
        valence=found.valence,
        truncated=found.truncated,
        degraded=degraded,
    )


_OPERATION: Final = Operation(
    name="classify",
    summary="Sentiment of texts",
    description=(
        "Says of each text whether it is negative, neutral or positive, with calibrated "
        "probabilities, and how strongly. Invalid input fails the whole request and names the text."
    ),
    request=ClassifyRequest,
    response=ClassifyResponse,
    tag="predictions",
)
