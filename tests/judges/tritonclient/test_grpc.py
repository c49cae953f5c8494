"""The stock client over gRPC, at the gateway's door, of the real classifier."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as stock
from real_mesh import Mesh
from tritonclient.utils import InferenceServerException

TIMEOUT_S = 60.0


@pytest.fixture
def key(mesh: Mesh) -> dict[str, str]:
    return {"authorization": f"Bearer {mesh.key}"}


@pytest.fixture
def client(mesh: Mesh) -> Iterator[Any]:
    with stock.InferenceServerClient(f"127.0.0.1:{mesh.grpc_port}") as opened:
        yield opened


def text(*elements: bytes) -> Any:
    tensor = stock.InferInput("text", [len(elements)], "BYTES")
    return tensor.set_data_from_numpy(np.array(elements, np.object_))


def test_the_server_says_what_it_is_without_a_key(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata().name == "inference-mesh"


def test_the_model_is_ready_and_described(client: Any, key: dict[str, str]) -> None:
    model = client.get_model_metadata("classifier", headers=key)
    assert [(each.name, each.datatype, list(each.shape)) for each in model.inputs] == [
        ("text", "BYTES", [-1])
    ]
    assert client.is_model_ready("classifier", model.versions[0], headers=key)


@pytest.mark.parametrize("timeout_s", [None, TIMEOUT_S])
def test_tensors_in_tensors_out(client: Any, key: dict[str, str], timeout_s: float | None) -> None:
    result = client.infer(
        "classifier",
        [text(b"A delight.", b"A bore.")],
        outputs=[stock.InferRequestedOutput(name) for name in ("probabilities", "label")],
        request_id="order 7",
        client_timeout=timeout_s,
        headers=key,
    )
    response = result.get_response()
    assert [output.name for output in response.outputs] == ["probabilities", "label"]
    assert len(response.raw_output_contents) == 2
    assert result.as_numpy("label").tolist() == [b"positive", b"negative"]
    probabilities = result.as_numpy("probabilities")
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (2, 3))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert response.id == "order 7"
    assert response.parameters["version"].string_param == response.model_version


@pytest.mark.parametrize(
    ("asked", "tensor", "status", "words"),
    [
        (("weather", ""), text(b"a"), "NOT_FOUND", "there is no model 'weather'"),
        (("classifier", "x"), text(b"a"), "NOT_FOUND", "the version 'x' of classifier is not"),
        (("classifier", ""), text(b"\xff"), "INVALID_ARGUMENT", "text[0] is not valid UTF-8"),
        (("classifier", ""), text(b"a", b" "), "INVALID_ARGUMENT", "text[1] has nothing but white"),
    ],
)
def test_errors_say_what_is_wrong(
    client: Any, key: dict[str, str], asked: tuple[str, str], tensor: Any, status: str, words: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(asked[0], [tensor], model_version=asked[1], headers=key)
    assert caught.value.status() == f"StatusCode.{status}"
    assert words in caught.value.message()


def test_a_stranger_is_refused(client: Any) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer("classifier", [text(b"a")])
    assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
