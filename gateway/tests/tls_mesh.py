"""A mesh whose door and inside speak TLS, with a counter."""

import ssl
from http.client import HTTPSConnection
from pathlib import Path
from typing import Self, TypeVar

import grpc
import httpx
from trustme import CA

from counter_mesh import CounterGateway, CounterMesh, CounterService
from made_certificates import Secret, bundle, leaf
from meshkit.keys import ApiKey
from processes import PATIENCE_S, StandInService

Service = TypeVar("Service", bound=StandInService)


class TlsGateway(CounterGateway):
    """The gateway, whose door shows a certificate of that authority."""

    context: ssl.SSLContext

    def connection(self) -> HTTPSConnection:
        return HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE_S, context=self.context)

    def rss_kib(self) -> int:
        """The memory that it has."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])


class _Inside(StandInService):
    """A service that takes calls from the holders of certificates alone."""

    def channel(self) -> grpc.Channel:
        assert self._environment is not None
        secret = Secret(Path(self._environment["MESH_INTERNAL_TLS_CA_PATH"]).parent)
        return channel_as(secret, self.port)


class TlsClassifier(_Inside):
    """The service behind the gateway."""


class TlsCounter(_Inside, CounterService):
    """The service that counts."""


def channel_as(secret: Secret, port: int) -> grpc.Channel:
    """A channel as the holder of a secret opens it."""
    credentials = grpc.ssl_channel_credentials(
        secret.ca.read_bytes(), secret.key.read_bytes(), secret.certificate.read_bytes()
    )
    return grpc.secure_channel(f"localhost:{port}", credentials)


class TlsMesh(CounterMesh):
    """A mesh with two authorities: one that callers know, and one inside."""

    gateway: TlsGateway
    gateway_type = TlsGateway

    def __init__(self, folder: Path, **settings: object) -> None:
        self.door_ca, self.inner_ca = CA(), CA()
        self.door = Secret.of(folder / "door", leaf(self.door_ca), self.door_ca)
        self.inner = {
            name: Secret.of(folder / name, leaf(self.inner_ca), self.inner_ca)
            for name in ("gateway", "classifier", "counter")
        }
        shown = {
            "MESH_GATEWAY_TLS_CERTIFICATE_PATH": self.door.certificate,
            "MESH_GATEWAY_TLS_KEY_PATH": self.door.key,
        }
        super().__init__(folder, **{**shown, **_variables(self.inner["gateway"]), **settings})
        self.gateway.context = self.context()
        self.service = _with(TlsClassifier(folder, self.service.port), self.inner["classifier"])
        self.counter = _with(TlsCounter(folder, self.counter.port), self.inner["counter"])

    def __enter__(self) -> Self:
        super().__enter__()
        self.set_scopes(self.key, "classifier counter")
        return self

    def context(self, *trusted: CA) -> ssl.SSLContext:
        """What a caller over HTTP knows, by default the authority of the door."""
        pem = bundle(*(trusted or (self.door_ca,))).decode()
        return ssl.create_default_context(cadata=pem)

    def door_channel(self, *trusted: CA) -> grpc.Channel:
        """A caller's channel to the gRPC port."""
        credentials = grpc.ssl_channel_credentials(bundle(*(trusted or (self.door_ca,))))
        return grpc.secure_channel(self.gateway.address, credentials)

    def client(self, key: ApiKey | None = None, *trusted: CA) -> httpx.Client:
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.gateway.port}",
            headers={"authorization": f"Bearer {(key or self.key).text}"},
            timeout=PATIENCE_S,
            verify=self.context(*trusted),
        )


def _variables(secret: Secret) -> dict[str, str]:
    return {f"MESH_{name.upper()}": path for name, path in secret.settings().items()}


def _with(service: Service, secret: Secret) -> Service:
    assert service._environment is not None
    service._environment = {**service._environment, **_variables(secret)}
    return service
