"""The server of the gRPC door: which methods it has, and its life."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from mesh_gateway.auth import Authenticator
from mesh_gateway.backends import Backend, TensorModels, service_names
from mesh_gateway.grpc_door import inference, reflection
from mesh_gateway.grpc_door.calls import Entrance
from mesh_gateway.grpc_door.handlers import HandlerTable
from mesh_gateway.grpc_door.metered import Meter
from mesh_gateway.lineage_log import LineageLog
from mesh_gateway.readiness import Readiness
from mesh_gateway.settings import Settings
from meshkit import channels, tls
from meshkit.client import Client
from meshkit.grpc_calls import GrpcCalls, UnknownMethods, refuse_unknown
from meshkit.health import Health
from meshkit.tls import Certificate

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
        lineage_log: remembers what answered; None to remember nothing.
        meter: meters the calls of the service of a client.
        certificate: shown to callers; None for no TLS.
    """

    def __init__(
        self,
        settings: Settings,
        entrance: Entrance,
        authenticator: Authenticator,
        backends: Sequence[Backend],
        readiness: Readiness,
        lineage_log: LineageLog | None,
        *,
        meter: Callable[[Client], Meter],
        certificate: Certificate | None,
    ) -> None:
        self._certificate = certificate
        self._address = f"{settings.bind_address}:{settings.grpc_port}"
        self._readiness = readiness
        self._health = Health()
        models = TensorModels.of(backends)
        handlers = HandlerTable(entrance, settings.stream_idle_timeout_s, lineage_log, meter)
        handlers.add_services(backends)
        handlers.add_models(models)
        handlers.add_server(readiness)
        self._services = {
            name: (each,) for each in backends for name in service_names(each.files)
        } | {inference.SERVICE: tuple(models.backends.values())}
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
        unknown = UnknownMethods(entrance.open(refuse_unknown))
        self._server.add_generic_rpc_handlers((unknown,))

    async def start(self) -> None:
        """Opens the port.

        Raises:
            StartError: another process listens there.
        """
        certificate = self._certificate
        credentials = tls.server_credentials(certificate) if certificate else None
        channels.listen(self._server, self._address, credentials, "MESH_GATEWAY_GRPC_PORT")
        await self._report()
        await self._server.start()
        extra = {"address": self._address, "tls": certificate is not None}
        _log.info("serving gRPC", extra=extra)

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
