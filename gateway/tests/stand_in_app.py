"""The stand-in service as it is served: its own contract, and the same as tensors."""

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext

from mesh.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from meshkit import oip_service
from meshkit.errors import Internal
from meshkit.lineage import Lineage
from meshkit.oip import Parameter, Signature, TensorSpec, lineage_parameters
from meshkit.oip_codec import Tensor
from meshkit.oip_service import Inferred, Model
from meshkit.run import App
from meshkit.server import GrpcServer, Service
from stand_in import VERSION, Settings, StandIn

SIGNATURE = Signature(
    inputs=(TensorSpec("text", "BYTES", (-1,)),),
    outputs=(
        TensorSpec("label", "BYTES", (-1,)),
        TensorSpec("probabilities", "FP32", (-1, 2)),
        TensorSpec("valence", "FP32", (-1,)),
        TensorSpec("truncated", "BOOL", (-1,)),
        TensorSpec("degraded", "BOOL", (-1,)),
    ),
)


class Tensors:
    """The same as tensors: a text comes back as its label, whatever its bytes are."""

    name = VERSION

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in

    async def infer(
        self, inputs: Mapping[str, Tensor], parameters: Mapping[str, Parameter]
    ) -> Inferred:
        texts: list[bytes] = inputs["text"].array.tolist()
        request = classifier_pb2.ClassifyRequest(
            texts=[text.decode(errors="replace") for text in texts],
            allow_degraded=bool(parameters.get("allow_degraded")),
        )
        response = await self._stand_in.Classify(request, None)
        found = [result.classification for result in response.results if _good(result)]
        labels = [
            text if b"\xff" in text else each.label.encode()
            for text, each in zip(texts, found, strict=True)
        ]
        if b"parameters" in labels:
            labels = [repr(dict(parameters)).encode()]
        outputs = [
            Tensor.of("label", "BYTES", labels),
            Tensor.of(
                "probabilities",
                "FP32",
                [[every.probability for every in each.probabilities] for each in found],
            ),
            Tensor.of(
                "valence",
                "FP32",
                [math.nan if text == b"nan" else 1.5 for text in texts],
            ),
            Tensor.of("truncated", "BOOL", [each.truncated for each in found]),
            Tensor.of("degraded", "BOOL", [each.HasField("degraded") for each in found]),
        ]
        return outputs, lineage_parameters(Lineage.from_proto(response.lineage))


def _good(result: classifier_pb2.ClassifyResult) -> bool:
    if result.HasField("error"):
        raise Internal(result.error.message, reason=result.error.reason)
    return True


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[App]:
    servicer = StandIn(settings.deployment)
    model = Model("classifier", "stand_in", SIGNATURE, lambda: nullcontext(Tensors(servicer)))
    services = [
        Service(classifier_pb2_grpc.add_ClassifierServiceServicer_to_server, servicer),
        oip_service.service(model),
    ]
    yield App(servers=[GrpcServer(settings, services)])
