"""The server of the gRPC door: which methods it has, and its life."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from inference import open_inference_grpc_pb2 as inference_pb2
from mesh_gateway.admission import Target
from mesh_gateway.auth import Authenticator
from mesh_gateway.backends import Backend, Method, by_model, methods, service_names
from mesh_gateway.grpc_door import inference, reflection, relay
from mesh_gateway.grpc_door.calls import Entrance, Way
from mesh_gateway.readiness import Readiness
from mesh_gateway.server_info import EXTENSIONS, NAME, VERSION
from mesh_gateway.settings import Settings
from meshkit import channels, scopes
from meshkit.errors import StartError
from meshkit.grpc_calls import GrpcCalls, Handlers
from meshkit.health import Health
from meshkit.interceptors import Call, Handler

_LOOK_EVERY_S: Final = 0.2
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_log = logging.getLogger(__name__)


class GrpcDoor:
    """Serves gRPC to callers.

    Args:
        settings: address, limits and times.
        entrance: what every call passes.
        authenticator: says who asks for reflection.
        backends: the services behind the gateway.
        readiness: whether the gateway can admit.
    """

    def __init__(
        self,
        settings: Settings,
        entrance: Entrance,
        authenticator: Authenticator,
        backends: Sequence[Backend],
        readiness: Readiness,
    ) -> None:
        self._address = f"{settings.bind_address}:{settings.grpc_port}"
        self._readiness = readiness
        self._health = Health()
        models = by_model(backends)
        handlers = _Handlers(entrance, settings.stream_idle_timeout_s)
        handlers.add_services(backends)
        handlers.add_inference(models, readiness)
        self._services = {
            name: (each,) for each in backends for name in service_names(each.files)
        } | {inference.SERVICE: tuple(models.values())}
        self._server = grpc.aio.server(
            options=channels.public_server_options(
                settings.max_message_bytes, settings.max_header_bytes
            ),
            maximum_concurrent_rpcs=settings.max_concurrent_requests,
        )
        seen_by = {
            name: frozenset(each.client.name for each in owners)
            for name, owners in self._services.items()
        }
        always = (health.SERVICE_NAME, reflection.SERVICE)
        self._server.add_generic_rpc_handlers(
            (
                GrpcCalls(handlers.all),
                reflection.Reflection(authenticator, seen_by, always).handler(),
            )
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    async def start(self) -> None:
        """Opens the port.

        Raises:
            StartError: another process listens there.
        """
        try:
            self._server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise StartError(
                f"can't listen on {self._address}: another process has the port, or the address "
                "is not this machine's; free it or set another MESH_GATEWAY_GRPC_PORT"
            ) from error
        await self._report()
        await self._server.start()
        _log.info("serving gRPC", extra={"address": self._address})

    async def leave(self) -> None:
        """Reports NOT_SERVING for good, and serves on."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, timeout_s: float) -> None:
        """Accepts no more, finishes what is in flight within `timeout_s`, then ends the rest."""
        self._health.end_watches()
        await self._server.stop(timeout_s)

    async def watch(self) -> None:
        """Reports which services can be reached, until cancelled."""
        while True:
            await self._report()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _report(self) -> None:
        await self._health.set("", _SERVING if self._readiness.ready else _NOT_SERVING)
        for name, owners in self._services.items():
            up = any(each.client.serving for each in owners)
            await self._health.set(name, _SERVING if up else _NOT_SERVING)


class _Handlers:
    """The handlers of all methods, put together one service after the other."""

    def __init__(self, entrance: Entrance, stream_idle_timeout_s: float) -> None:
        self._entrance = entrance
        self._stream_idle_timeout_s = stream_idle_timeout_s
        self._unary: dict[str, Handler[bytes]] = {}
        self._streaming: dict[str, Handler[None]] = {}

    @property
    def all(self) -> Handlers:
        """What was put together."""
        return Handlers(self._unary, self._streaming)

    def add_services(self, backends: Sequence[Backend]) -> None:
        """Adds every method of the services behind the gateway."""
        for backend in backends:
            for method in methods(backend.client.name, backend.files):
                if method.streams:
                    self._streaming[method.name] = self._stream(backend, method)
                else:
                    self._unary[method.name] = self._call(backend, method)

    def add_inference(self, models: Mapping[str, Backend], readiness: Readiness) -> None:
        """Adds the Open Inference Protocol: of the models, and of the gateway as their server."""

        def model_method(name: str) -> Handler[bytes]:
            def route(payload: bytes) -> Way[bytes]:
                backend = inference.backend_of(payload, models)
                target = Target(backend.client.name, scopes.verb_of(name))
                return Way(target, relay.unary(backend.client, self._entrance.check_size))

            return self._entrance.admitted(route)

        def server_method(answer: Callable[[], Message]) -> Handler[bytes]:
            async def work(call: Call, payload: bytes) -> bytes:
                return answer().SerializeToString()

            return self._entrance.open(work)

        def ready() -> inference_pb2.ServerReadyResponse:
            return inference_pb2.ServerReadyResponse(ready=readiness.ready)

        for name in ("ModelReady", "ModelMetadata", "ModelInfer"):
            self._unary[f"{inference.SERVICE}/{name}"] = model_method(name)
        live = inference_pb2.ServerLiveResponse(live=True)
        about = inference_pb2.ServerMetadataResponse(
            name=NAME, version=VERSION, extensions=EXTENSIONS
        )
        answers: dict[str, Callable[[], Message]] = {
            "ServerLive": lambda: live,
            "ServerReady": ready,
            "ServerMetadata": lambda: about,
        }
        for name, answer in answers.items():
            self._unary[f"{inference.SERVICE}/{name}"] = server_method(answer)

    def _call(self, backend: Backend, method: Method) -> Handler[bytes]:
        way = Way(method.target, relay.unary(backend.client, self._entrance.check_size))
        return self._entrance.admitted(lambda payload: way)

    def _stream(self, backend: Backend, method: Method) -> Handler[None]:
        work = relay.stream(backend.client, self._entrance.check_size, self._stream_idle_timeout_s)
        way = Way(method.target, work)
        return self._entrance.admitted(lambda payload: way)
