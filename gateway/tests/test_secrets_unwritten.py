"""Credentials, wherever a caller puts them, are in nothing that the processes write or say."""

import base64
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import grpc
import httpx
import pytest

from inference import open_inference_grpc_pb2 as inference_pb2
from made_tokens import by_pyjwt
from observed_mesh import CLASSIFY, ObservedMesh, scrape
from processes import PATIENCE_S

INFER = "/inference.GRPCInferenceService/ModelInfer"


class Secrets:
    """A key that works and a token, and what of them must be seen nowhere."""

    def __init__(self, mesh: ObservedMesh) -> None:
        self.key = mesh.make_key().text
        self.token = by_pyjwt("EdDSA")
        _, payload, signature = self.token.split(".")
        # So little of each that it shows one that was cut, too.
        self.parts = [self.key.rpartition("_")[2][:10], payload[:12], signature[:12]]

    @property
    def all(self) -> list[str]:
        return [self.key, self.token]

    def seen_in(self, text: str) -> list[str]:
        return [part for part in self.parts if part in text]


@pytest.fixture(scope="module")
def hidden(observed: ObservedMesh) -> Secrets:
    return Secrets(observed)


def sampled() -> str:
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def over_http(client: httpx.Client, secret: str) -> Iterator[httpx.Response]:
    """Answers to requests that have the secret in odd places."""
    good = {"texts": ["good"]}

    def ask(path: str = CLASSIFY, body: object = good, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.post(path, json=body, headers={"traceparent": sampled(), **named})

    yield ask(f"{CLASSIFY}?key={secret}&access_token={secret}")
    yield ask(f"/{secret}")
    yield ask(f"/{'x' * 240}/{secret}")
    yield ask(f"/v1/{quote(secret, safe='').replace('_', '%5F')}")
    yield ask(f"/v2/models/{secret}/infer")
    yield ask(f"/v2/models/classifier/versions/{secret}/infer", {"inputs": []})
    yield client.get(f"/v2/models/{secret}", headers={"traceparent": sampled()})
    yield client.get(CLASSIFY, params={"key": secret}, headers={"traceparent": sampled()})
    for name in ("x_request_id", "x_request_timeout_ms", "tracestate", "baggage", "cookie"):
        yield ask(**{name: f"a={secret}" if name in {"tracestate", "cookie"} else secret})
    yield ask(x_request_timeout_ms=secret[:30])
    yield ask(traceparent=secret)
    for name in ("user_agent", "referer", "x_api_key", "authorization", "proxy_authorization"):
        yield ask(**{name: secret})
    yield ask(content_type=f"text/{secret}")
    yield ask(inference_header_content_length=secret)
    yield ask(body={secret: 1})
    yield ask(body={"texts": secret})
    yield ask(body={"texts": [f"stumble over {secret}"]})
    yield ask("/v2/models/classifier/infer", {"id": secret, "inputs": secret})
    tensor = {"name": secret, "shape": [1], "datatype": secret, "data": [secret]}
    yield ask("/v2/models/classifier/infer", {"inputs": [tensor]})
    yield ask("/v2/models/classifier/infer", {"inputs": [], "outputs": [{"name": secret}]})


def over_grpc(mesh: ObservedMesh, secret: str) -> Iterator[str]:
    """What the gRPC door says to calls that have the secret in odd places."""
    with grpc.insecure_channel(mesh.gateway.address) as channel:
        shown = (("authorization", f"Bearer {mesh.key.text}"), ("traceparent", sampled()))

        def said(method: str, request: bytes, *metadata: tuple[str, str | bytes]) -> str:
            call: Any = channel.unary_unary(method)
            try:
                call(request, timeout=PATIENCE_S, metadata=(*shown, *metadata))
            except grpc.RpcError as error:
                failed: Any = error
                return f"{failed.details()} {failed.trailing_metadata()}"
            return ""

        yield said(f"/{secret}/{secret}", b"")
        yield said(INFER, inference_pb2.ModelInferRequest(model_name=secret).SerializeToString())
        named = inference_pb2.ModelInferRequest(model_name="classifier", model_version=secret)
        yield said(INFER, named.SerializeToString())
        yield said(INFER, secret.encode())
    for name in ("x-request-id", "tracestate", "x-api-key", "cookie", "x-mesh-tenant"):
        value = f"a={secret}" if name == "tracestate" else secret
        yield str(mesh.classify_by_grpc("good", ("traceparent", sampled()), (name, value)))
    yield str(mesh.classify_by_grpc(f"stumble over {secret}", ("traceparent", sampled())))


def test_nothing_that_is_written_or_said_holds_a_credential(
    observed: ObservedMesh, hidden: Secrets
) -> None:
    with observed.client() as client:
        for secret in hidden.all:
            for response in over_http(client, secret):
                said = f"{response.text} {response.headers}"
                assert hidden.seen_in(said) == [], (response.request, said)
    for secret in hidden.all:
        for said in over_grpc(observed, secret):
            assert hidden.seen_in(said) == [], said
    # What is measured after all of them has been sent once they have been.
    marker = sampled()
    observed.classify_by_grpc("stumble", ("traceparent", marker))
    observed.collector.whole(marker[3:35], 3)
    assert "can't take 'stumble over" in observed.service.log
    assert hidden.seen_in(observed.logs) == []
    assert hidden.seen_in(observed.collector.text) == []
    for port in (observed.gateway.admin_port, observed.observed.admin_port):
        assert hidden.seen_in(scrape(port)[1]) == []


def test_the_id_of_a_key_may_be_seen(observed: ObservedMesh) -> None:
    key = observed.make_key()
    with observed.client(key) as client:
        response = client.post(CLASSIFY, json={"texts": ["good"]})
    line = observed.access_line(response.headers["x-request-id"])
    assert line["key_id"] == key.id
    assert base64.b64encode(key.text.encode()).decode() not in observed.logs


def test_a_path_is_masked_and_not_lost(observed: ObservedMesh, hidden: Secrets) -> None:
    with observed.client() as client:
        response = client.get(f"/before/{hidden.key}/after")
    line = observed.access_line(response.headers["x-request-id"])
    key_id = hidden.key.split("_")[1]
    assert line["path"] == f"/before/mesh_{key_id}_***/after"
