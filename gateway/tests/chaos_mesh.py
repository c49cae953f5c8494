"""A mesh whose Redis stands behind a proxy, with callers of every kind."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import grpc
import httpx
from google.rpc import error_details_pb2, status_pb2
from redis import Redis

from chaos_proxy import Proxy
from inference.open_inference_grpc_pb2 import ModelInferRequest
from inference.open_inference_grpc_pb2_grpc import GRPCInferenceServiceStub
from made_tokens import AUDIENCE, ISSUER, JWKS, by_pyjwt
from mesh.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from meshkit import names
from meshkit.keys import ApiKey
from processes import PATIENCE_S, Mesh

CLASSIFY: Final = "/v1/classify"
INFER: Final = "/v2/models/classifier/infer"
MODELS: Final = "/v2/models"
GRPC_CLASSIFY: Final = "gRPC Classify"
GRPC_INFER: Final = "gRPC ModelInfer"
ROUTES: Final = (CLASSIFY, INFER, MODELS, GRPC_CLASSIFY, GRPC_INFER)
"""Those that need a key."""
_INPUT: Final[Mapping[str, Any]] = {"name": "text", "shape": [1], "datatype": "BYTES"}


class Answer(NamedTuple):
    """What a caller was told, by either door, and the seconds that it waited."""

    status: int | str
    said: str
    took_s: float


def slots_held(redis_url: str) -> int:
    """How many slots a Redis knows of, of all keys together."""
    with Redis.from_url(redis_url) as client:
        return sum(int(client.zcard(each)) for each in client.scan_iter(f"{names.REDIS_SLOTS}:*"))


class FaultyMesh(Mesh):
    """A mesh whose gateway reaches Redis through a proxy and accepts tokens."""

    def __init__(self, folder: Path, **settings: object) -> None:
        jwks = folder / "jwks.json"
        jwks.write_text(json.dumps(JWKS))
        super().__init__(
            folder,
            MESH_GATEWAY_JWT_KEYS=jwks,
            MESH_GATEWAY_JWT_ISSUER=ISSUER,
            MESH_GATEWAY_JWT_AUDIENCE=AUDIENCE,
            **settings,
        )
        self.proxy = Proxy(self.redis.port)

    def __enter__(self) -> Self:
        self.proxy.__enter__()
        url = f"redis://127.0.0.1:{self.proxy.port}/0"
        self.gateway.environment["MESH_REDIS_URL"] = url
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self.proxy.__exit__()

    def keys(self) -> dict[str, str]:
        """What callers of every kind present, made anew; nobody has presented any of it yet."""
        return {
            "key": self.make_key().text,
            "limited": self.make_key(max_concurrent=2).text,
            "unknown": ApiKey.generate().text,
            "token": by_pyjwt(scope="classifier"),
        }

    def ask(self, route: str, presented: str) -> Answer:
        """Asks once."""
        began_s = time.monotonic()
        status, said = (
            self._over_grpc(route, presented) if " " in route else self._over_http(route, presented)
        )
        return Answer(status, said, time.monotonic() - began_s)

    def _over_http(self, route: str, presented: str) -> tuple[int, str]:
        bodies: Mapping[str, Any] = {
            CLASSIFY: {"texts": ["a"]},
            INFER: {"inputs": [{**_INPUT, "data": ["a"]}]},
        }
        response = httpx.request(
            "POST" if route in bodies else "GET",
            f"{self.gateway.url}{route}",
            json=bodies.get(route),
            headers={"x-api-key": presented},
            timeout=PATIENCE_S,
        )
        body = response.json()
        said = body.get("reason") or body.get("error", "") if response.is_error else ""
        return response.status_code, said

    def _over_grpc(self, route: str, presented: str) -> tuple[str, str]:
        sent: Any = {"metadata": (("x-api-key", presented),), "timeout": PATIENCE_S}
        with grpc.insecure_channel(self.gateway.address) as channel:
            try:
                if route == GRPC_CLASSIFY:
                    texts = classifier_pb2.ClassifyRequest(texts=["a"])
                    classifier_pb2_grpc.ClassifierServiceStub(channel).Classify(texts, **sent)
                else:
                    GRPCInferenceServiceStub(channel).ModelInfer(_tensors(), **sent)
            except grpc.RpcError as error:
                return error.code().name, _reason(error)
        return "OK", ""


def _tensors() -> ModelInferRequest:
    request = ModelInferRequest(model_name="classifier")
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(b"a")
    return request


def _reason(error: Any) -> str:
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(info)
    return str(info.reason)
