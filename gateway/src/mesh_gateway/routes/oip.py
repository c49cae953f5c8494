"""`/v2/...`: the Open Inference Protocol, of every model that has tensors.

The service whose model is named answers; the gateway knows which one that is, and no more of it.

Source: kserve/open-inference-protocol, `inference_rest.md`; STANDARDS 3.1.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeAlias, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from inference.open_inference_grpc_pb2 import (
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
)
from inference.open_inference_grpc_pb2_grpc import GRPCInferenceServiceStub
from mesh_gateway import bodies, oip_binary, oip_infer, oip_schemas, server_info
from mesh_gateway.admission import Admission, Takes, Target
from mesh_gateway.auth import presented_key
from mesh_gateway.backends import Backend, TensorModels
from mesh_gateway.exchange import Exchange, header
from mesh_gateway.lineage_log import LineageLog
from mesh_gateway.openapi import OPEN_INFERENCE, HotRoute, Operation
from mesh_gateway.problems import OPEN_INFERENCE_PATH
from mesh_gateway.readiness import Readiness
from meshkit import names
from meshkit.errors import NotFound, PermissionDenied, Unavailable
from meshkit.oip import lineage_of, parameters_of
from meshkit.scopes import PREDICT, READ

PREFIX: Final = OPEN_INFERENCE_PATH
LIVE: Final = f"{PREFIX}/health/live"
READY: Final = f"{PREFIX}/health/ready"
_MODELS: Final = f"{PREFIX}/models"
_MODEL: Final = f"{_MODELS}/{{model}}"
_VERSION: Final = f"{_MODEL}/versions/{{version}}"

# What can be wrong with a request that has no body; with one that no limit counts, since it asks
# no service; and with one that needs no key either.
_OF_READING: Final = ("400", "401", "403", "404", "429", "500", "503", "504")
_OF_LISTING: Final = ("400", "401", "500", "503", "504")
_OF_OPEN: Final = ("400", "500", "503", "504")

# One generated class serves both kinds of channel, and its types tell them apart.
_Stub: TypeAlias = Any
_encoder: Final = msgspec.json.Encoder()


class OpenInference:
    """Answers the routes.

    Args:
        admission: lets callers in.
        models: those that there are.
        readiness: whether the gateway can admit.
        lineage_log: remembers what answered; None to remember nothing.
        max_message_bytes: the mesh's limit for public messages.
    """

    def __init__(
        self,
        admission: Admission,
        models: TensorModels,
        readiness: Readiness,
        lineage_log: LineageLog | None,
        max_message_bytes: int,
    ) -> None:
        self._admission = admission
        self._models = models
        self._stubs: Mapping[str, _Stub] = {
            name: each.client.stub(cast(Any, GRPCInferenceServiceStub))
            for name, each in models.backends.items()
        }
        self._readiness = readiness
        self._lineage_log = lineage_log
        self._max_message_bytes = max_message_bytes

    async def live(self, request: Request) -> Response:
        """Says that the gateway answers."""
        return _json(oip_schemas.Live(live=True))

    async def ready(self, request: Request) -> Response:
        """Says that the gateway can admit, as `/ready` does.

        Raises:
            Unavailable: it is leaving.
        """
        if not self._readiness.ready:
            raise Unavailable("the gateway is leaving; ask another one")
        return _json(oip_schemas.Ready(ready=True))

    async def server(self, request: Request) -> Response:
        """Says what serves."""
        return _json(
            oip_schemas.ServerMetadata(
                server_info.NAME, server_info.VERSION, server_info.EXTENSIONS
            )
        )

    async def models(self, request: Request) -> Response:
        """Lists the models that the caller may read."""
        await self._admission.identify(_presented(request.scope), Exchange.of(request.scope))
        readable = [
            name
            for name, backend in self._models.backends.items()
            if await self._may_read(_presented(request.scope), backend)
        ]
        return _json(oip_schemas.Models(sorted(readable)))

    async def _may_read(self, presented: str | None, backend: Backend) -> bool:
        with suppress(PermissionDenied):
            await self._admission.authorize(presented, Target(backend.client.name, READ))
            return True
        return False

    async def model(self, request: Request) -> Response:
        """Describes a model."""
        name, version = _asked(request)
        async with self._admitted(request.scope, READ) as stub:
            with Exchange.of(request.scope).calling():
                told = await stub.ModelMetadata(ModelMetadataRequest(name=name, version=version))
        return _json(_metadata(told))

    async def model_ready(self, request: Request) -> Response:
        """Says that a model can be asked.

        Raises:
            Unavailable: it can't be.
        """
        name, version = _asked(request)
        async with self._admitted(request.scope, READ) as stub:
            with Exchange.of(request.scope).calling():
                told = await stub.ModelReady(ModelReadyRequest(name=name, version=version))
        if not told.ready:
            raise Unavailable(f"the model {name} is not ready; try again")
        return _json(oip_schemas.ModelReady(name, ready=True))

    async def infer(self, request: Request) -> Response:
        """Asks a model."""
        scope = request.scope
        name, version = _asked(request)
        async with self._admitted(scope, PREDICT) as stub:
            bodies.check_type(Exchange.of(scope), bodies.BINARY)
            body = await bodies.read(request.receive)
            message, wanted = oip_infer.question(
                scope, body, name, version, self._max_message_bytes
            )
            with Exchange.of(scope).calling():
                response = await stub.ModelInfer(message)
        self._remember(Exchange.of(scope), response)
        content, json_bytes = oip_infer.answer(response, wanted)
        if json_bytes is None:
            return Response(content, media_type=bodies.JSON)
        headers = {oip_binary.HEADER: str(json_bytes)}
        return Response(content, headers=headers, media_type=bodies.BINARY)

    def _remember(self, exchange: Exchange, response: ModelInferResponse) -> None:
        lineage = lineage_of(parameters_of(response.parameters))
        if self._lineage_log and lineage:
            self._lineage_log.add(exchange.request_id, lineage.to_proto())

    @asynccontextmanager
    async def _admitted(self, scope: Scope, verb: str) -> AsyncIterator[_Stub]:
        """Lets a caller in to the service whose model the path names."""
        exchange, presented = Exchange.of(scope), _presented(scope)
        name = scope["path_params"]["model"]
        try:
            backend = self._models.named(name, f"GET {_MODELS} lists those that there are")
        except NotFound:
            # A stranger is not told which models there are.
            await self._admission.identify(presented, exchange)
            raise
        target = Target(backend.client.name, verb)
        async with self._admission.admit(presented, target, exchange, Takes.MEANWHILE):
            yield self._stubs[name]


def _presented(scope: Scope) -> str | None:
    return presented_key(header(scope, "authorization"), header(scope, names.API_KEY))


def _asked(request: Request) -> tuple[str, str]:
    """The model and the version in the path; the version is empty where there is none."""
    return request.path_params["model"], request.path_params.get("version", "")


def _json(body: msgspec.Struct) -> Response:
    return Response(_encoder.encode(body), media_type=bodies.JSON)


def _metadata(told: ModelMetadataResponse) -> oip_schemas.ModelMetadata:
    def tensors(
        each: Iterable[ModelMetadataResponse.TensorMetadata],
    ) -> list[oip_schemas.TensorMetadata]:
        return [
            oip_schemas.TensorMetadata(tensor.name, tensor.datatype, list(tensor.shape))
            for tensor in each
        ]

    return oip_schemas.ModelMetadata(
        name=told.name,
        versions=list(told.versions),
        platform=told.platform,
        inputs=tensors(told.inputs),
        outputs=tensors(told.outputs),
    )


def routes(answers: OpenInference) -> list[HotRoute]:
    """Every route; those of a model twice, without and with a version."""
    return [
        HotRoute(PREFIX, answers.server, _SERVER),
        HotRoute(LIVE, answers.live, _LIVE),
        HotRoute(READY, answers.ready, _READY),
        HotRoute(_MODELS, answers.models, _LIST),
        *_both(_MODEL, answers),
        *_both(_VERSION, answers),
    ]


def _both(path: str, answers: OpenInference) -> Iterator[HotRoute]:
    one = "Version" if path == _VERSION else ""
    yield HotRoute(path, answers.model, _MODEL_METADATA.named(f"model{one}Metadata"))
    yield HotRoute(f"{path}/ready", answers.model_ready, _MODEL_READY.named(f"model{one}Ready"))
    yield HotRoute(f"{path}/infer", answers.infer, _INFER.named(f"model{one}Infer"))


def _get(
    name: str,
    summary: str,
    description: str,
    response: type[msgspec.Struct],
    *,
    statuses: tuple[str, ...] = _OF_READING,
    open_to_all: bool = False,
) -> Operation:
    return Operation(
        name=name,
        summary=summary,
        description=description,
        request=None,
        response=response,
        tag="open inference protocol",
        method="GET",
        open_to_all=open_to_all,
        errors=OPEN_INFERENCE,
        statuses=statuses,
    )


_SERVER: Final = _get(
    "serverMetadata",
    "What serves",
    "Name and version of the server, and the extensions of the protocol that it speaks.",
    oip_schemas.ServerMetadata,
    statuses=_OF_OPEN,
    open_to_all=True,
)
_LIVE: Final = _get(
    "serverLive",
    "Whether the server answers",
    "For a liveness probe.",
    oip_schemas.Live,
    statuses=_OF_OPEN,
    open_to_all=True,
)
_READY: Final = _get(
    "serverReady",
    "Whether the server can be asked",
    "503 while the gateway is leaving. Whether a model can be asked, that of the model says.",
    oip_schemas.Ready,
    statuses=_OF_OPEN,
    open_to_all=True,
)
_LIST: Final = _get(
    "models",
    "Models",
    "Names of the models that have tensors and that the caller may read.",
    oip_schemas.Models,
    statuses=_OF_LISTING,
)
_MODEL_METADATA: Final = _get(
    "modelMetadata",
    "What a model takes and gives",
    "Its tensors, and the version that serves. Another version than that one is 404.",
    oip_schemas.ModelMetadata,
)
_MODEL_READY: Final = _get(
    "modelReady",
    "Whether a model can be asked",
    "503 where no replica of its service serves.",
    oip_schemas.ModelReady,
)
_INFER: Final = Operation(
    name="modelInfer",
    summary="Tensors in, tensors out",
    description=(
        "Asks a model. Tensors are JSON, or bytes after it: then the header "
        f"`{oip_binary.HEADER}` says how many bytes the JSON has, and the parameter "
        f"`{oip_binary.SIZE}` of each such tensor how many are its own, in the order of the "
        "tensors, little-endian, each element of BYTES behind its length in 4 bytes. Outputs come "
        "so where `binary_data` of the output, or `binary_data_output` of the request, is true."
    ),
    request=oip_schemas.InferRequest,
    response=oip_schemas.InferResponse,
    tag="open inference protocol",
    errors=OPEN_INFERENCE,
    binary=True,
)
