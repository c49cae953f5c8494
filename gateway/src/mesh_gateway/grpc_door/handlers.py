"""The handlers of the door's methods."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from google.protobuf.message import Message

from inference import open_inference_grpc_pb2 as inference_pb2
from mesh_gateway.admission import Takes, Target
from mesh_gateway.backends import Backend, Method, TensorModels, methods
from mesh_gateway.grpc_door import inference, provenance, relay
from mesh_gateway.grpc_door.calls import Entrance, Way, Work
from mesh_gateway.grpc_door.metered import METHODS, Meter, Relay
from mesh_gateway.grpc_door.provenance import Remember
from mesh_gateway.lineage_log import LineageLog
from mesh_gateway.readiness import Readiness
from mesh_gateway.server_info import EXTENSIONS, NAME, VERSION
from meshkit import scopes
from meshkit.client import Client
from meshkit.grpc_calls import Handlers
from meshkit.interceptors import Call, Handler

R = TypeVar("R")


class HandlerTable:
    """Puts handlers together, by the full names of their methods.

    Args:
        entrance: what every call passes.
        stream_idle_timeout_s: longest pause of a stream, in seconds.
        lineage_log: remembers what answered; None to remember nothing.
        meter: meters the calls of the service of a client.
    """

    def __init__(
        self,
        entrance: Entrance,
        stream_idle_timeout_s: float,
        lineage_log: LineageLog | None,
        meter: Callable[[Client], Meter],
    ) -> None:
        self._entrance = entrance
        self._stream_idle_timeout_s = stream_idle_timeout_s
        self._lineage_log = lineage_log
        self._meter = meter
        self._unary: dict[str, Handler[bytes]] = {}
        self._streaming: dict[str, Handler[None]] = {}

    @property
    def all(self) -> Handlers:
        """What was put together."""
        return Handlers(self._unary, self._streaming)

    def add_services(self, backends: Iterable[Backend]) -> None:
        """Adds every method of the services behind the gateway."""
        for backend in backends:
            for method in methods(backend.client.name, backend.files):
                if method.streams:
                    self._streaming[method.name] = self._stream(backend, method)
                else:
                    self._unary[method.name] = self._call(backend, method)

    def add_models(self, models: TensorModels) -> None:
        """Adds what the Open Inference Protocol asks of models.

        Args:
            models: those that there are.
        """
        infer = provenance.of_parameters(self._lineage_log)
        self._add_inference("ModelReady", self._of_model("ModelReady", models))
        self._add_inference("ModelMetadata", self._of_model("ModelMetadata", models))
        self._add_inference("ModelInfer", self._of_model("ModelInfer", models, infer))

    def add_server(self, readiness: Readiness) -> None:
        """Adds what the Open Inference Protocol asks of a server, which is the gateway itself."""
        live = inference_pb2.ServerLiveResponse(live=True)
        about = inference_pb2.ServerMetadataResponse(
            name=NAME, version=VERSION, extensions=EXTENSIONS
        )

        def ready() -> inference_pb2.ServerReadyResponse:
            return inference_pb2.ServerReadyResponse(ready=readiness.ready)

        self._add_inference("ServerLive", self._of_gateway(lambda: live))
        self._add_inference("ServerReady", self._of_gateway(ready))
        self._add_inference("ServerMetadata", self._of_gateway(lambda: about))

    def _add_inference(self, name: str, handler: Handler[bytes]) -> None:
        self._unary[f"{inference.SERVICE}/{name}"] = handler

    def _of_model(
        self, name: str, models: TensorModels, remember: Remember = provenance.nothing
    ) -> Handler[bytes]:
        verb = scopes.verb_of(name)

        def route(payload: bytes) -> Way[bytes]:
            client = inference.backend_of(payload, models).client
            work = relay.unary(client, self._entrance.check_size, remember)
            return Way.of(Target(client.name, verb), work, Takes.MEANWHILE)

        return self._entrance.admitted(route)

    def _of_gateway(self, answer: Callable[[], Message]) -> Handler[bytes]:
        async def work(call: Call, payload: bytes) -> bytes:
            return answer().SerializeToString()

        return self._entrance.open(work)

    def _call(self, backend: Backend, method: Method) -> Handler[bytes]:
        def passed_on(remember: Remember) -> Work[bytes]:
            return relay.unary(backend.client, self._entrance.check_size, remember)

        return self._admitted(backend, method, passed_on)

    def _stream(self, backend: Backend, method: Method) -> Handler[None]:
        def passed_on(remember: Remember) -> Work[None]:
            return relay.stream(
                backend.client, self._entrance.check_size, remember, self._stream_idle_timeout_s
            )

        return self._admitted(backend, method, passed_on)

    def _admitted(self, backend: Backend, method: Method, relay: Relay[R]) -> Handler[R]:
        remember = provenance.of_field(self._lineage_log, method.lineage)
        if metered := METHODS.get(method.name):
            meter = self._meter(backend.client)
            way = Way(method.target, meter.around(metered, relay, remember), Takes.INSIDE)
        else:
            # What a stream has sent can't be kept back from a caller who turns out to be refused.
            takes = Takes.BEFORE if method.streams else Takes.MEANWHILE
            way = Way.of(method.target, relay(remember), takes)
        return self._entrance.admitted(lambda payload: way)
