"""Calls of the Open Inference Protocol over real HTTP, and what every refusal must look like."""

import json
import struct
from typing import Any

import httpx

MODEL = "/v2/models/classifier"
INFER = f"{MODEL}/infer"
HEADER = "inference-header-content-length"


def text(*elements: str, **more: Any) -> dict[str, Any]:
    """The input of the model, in JSON."""
    shape = [len(elements)]
    return {"name": "text", "shape": shape, "datatype": "BYTES", "data": list(elements), **more}


def raw(*elements: bytes) -> bytes:
    """Elements of BYTES as they follow the JSON."""
    return b"".join(struct.pack("<I", len(each)) + each for each in elements)


def binary_text(*elements: bytes, size: Any = None) -> dict[str, Any]:
    """The input of the model, whose elements follow the JSON."""
    parameters = {"binary_data_size": len(raw(*elements)) if size is None else size}
    shape = [len(elements)]
    return {"name": "text", "shape": shape, "datatype": "BYTES", "parameters": parameters}


def infer(client: httpx.Client, path: str = INFER, **body: Any) -> httpx.Response:
    return client.post(path, json=body)


def infer_binary(
    client: httpx.Client, tail: bytes, header: str | None = None, **body: Any
) -> httpx.Response:
    """Sends JSON and bytes after it; the header is right unless it is given."""
    content = json.dumps(body).encode()
    headers = {"content-type": "application/octet-stream", HEADER: header or str(len(content))}
    return client.post(INFER, content=content + tail, headers=headers)


def output(response: httpx.Response, name: str = "label") -> Any:
    """The elements of an output in JSON."""
    assert response.status_code == 200, response.text
    (found,) = [each for each in response.json()["outputs"] if each["name"] == name]
    return found["data"]


def refusal(response: httpx.Response, status: int) -> str:
    """The message of an error, once its form is checked."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    body = response.json()
    assert list(body) == ["error"]
    assert isinstance(body["error"], str)
    return str(body["error"])
