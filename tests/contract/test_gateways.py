"""Several gateways before the same services are one: they give the same answers."""

import json
import struct

import pytest
from real_mesh import Answer, Mesh

INFER = "/v2/models/classifier/infer"
TEXTS = ["A delight from start to end.", "The plot goes nowhere, slowly."]
# What a gateway says of this request alone.
OF_ONE = {"date", "x-request-id", "server-timing", "ratelimit"}


def both(mesh: Mesh, method: str, path: str, body: bytes | None, **headers: str) -> list[Answer]:
    return [
        mesh.ask(method, path, body, gateway, x_request_id="same", **headers)
        for gateway in mesh.gateways
    ]


def tensor(*, binary: bool) -> tuple[bytes, int]:
    """A request for the answers as bytes, and how long its JSON is."""
    text: dict[str, object] = {"name": "text", "shape": [len(TEXTS)], "datatype": "BYTES"}
    elements = b"".join(struct.pack("<I", len(each)) + each.encode() for each in TEXTS)
    if binary:
        text["parameters"] = {"binary_data_size": len(elements)}
    else:
        text["data"] = TEXTS
    head = json.dumps({"inputs": [text], "parameters": {"binary_data_output": binary}}).encode()
    return (head + elements if binary else head), len(head)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/classify", {"texts": TEXTS}, 200),
        ("POST", "/v1/classify", {"texts": []}, 400),
        ("GET", "/v2/models", None, 200),
        ("GET", "/v2/models/classifier", None, 200),
        ("GET", "/v2/models/weather", None, 404),
        ("GET", "/openapi.json", None, 200),
    ],
)
def test_both_say_the_same(mesh: Mesh, method: str, path: str, body: object, status: int) -> None:
    one, other = both(mesh, method, path, None if body is None else json.dumps(body).encode())
    assert one.status == other.status == status
    assert one.body == other.body
    differing = {
        name
        for name in {*one.headers, *other.headers}
        if one.headers.get(name) != other.headers.get(name)
    }
    assert differing <= OF_ONE


@pytest.mark.parametrize("binary", [True, False])
def test_both_give_the_same_tensors(mesh: Mesh, binary: bool) -> None:
    body, head = tensor(binary=binary)
    headers = {"inference_header_content_length": str(head)} if binary else {}
    one, other = both(mesh, "POST", INFER, body, **headers)
    assert one.status == other.status == 200
    assert one.body == other.body
