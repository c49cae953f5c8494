"""The stock client over HTTP: tensors in JSON and as bytes, both ways, of the real classifier."""

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as stock
import tritonclient.http.aio as stock_aio
from real_mesh import Mesh
from tritonclient.utils import InferenceServerException

TEXTS = ["A delight from start to end.", "caf\u00e9: slow, cold and dear.", "It is a film."]
OUTPUTS = ["label", "probabilities", "valence", "truncated", "degraded"]


class Key:
    """Headers with the mesh's key: new ones each time, since the client writes into them."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._text}"}


@pytest.fixture
def key(mesh: Mesh) -> Key:
    return Key(mesh.key)


@pytest.fixture
def client(mesh: Mesh) -> Iterator[Any]:
    with stock.InferenceServerClient(f"127.0.0.1:{mesh.port}") as opened:
        yield opened


def text(*elements: bytes, binary: bool = True, column: bool = False) -> Any:
    shape = [len(elements), 1] if column else [len(elements)]
    tensor = stock.InferInput("text", shape, "BYTES")
    array = np.array(elements, np.object_).reshape(shape)
    return tensor.set_data_from_numpy(array, binary_data=binary)


def texts(*, binary: bool = True) -> Any:
    return text(*[each.encode() for each in TEXTS], binary=binary)


def wanted(*names: str, binary: bool) -> list[Any]:
    return [stock.InferRequestedOutput(name, binary_data=binary) for name in names]


def labels(result: Any) -> list[str]:
    """The client has them as bytes where they came as such, and as strings from JSON."""
    found = result.as_numpy("label").tolist()
    return [each.decode() if isinstance(each, bytes) else each for each in found]


def check(result: Any) -> None:
    """Checks that an answer is one of the classifier on the texts above."""
    assert labels(result)[:2] == ["positive", "negative"]
    probabilities = result.as_numpy("probabilities")
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (3, 3))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert probabilities[0].argmax() == 2
    valence = result.as_numpy("valence")
    assert (valence.dtype, valence.shape) == (np.float32, (3,))
    assert valence[0] > valence[1]
    for name in ("truncated", "degraded"):
        assert result.as_numpy(name).dtype == np.bool_
        assert result.as_numpy(name).tolist() == [False] * 3


def test_the_server_lives_and_is_ready_without_a_key(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    about = client.get_server_metadata()
    assert about["name"] == "inference-mesh"
    assert "binary_tensor_data" in about["extensions"]


def test_the_model_is_ready_and_described(client: Any, key: Key) -> None:
    model = client.get_model_metadata("classifier", headers=key())
    assert [tensor["name"] for tensor in model["inputs"]] == ["text"]
    assert [tensor["name"] for tensor in model["outputs"]] == OUTPUTS
    (version,) = model["versions"]
    assert client.get_model_metadata("classifier", version, headers=key()) == model
    assert client.is_model_ready("classifier", headers=key())
    assert client.is_model_ready("classifier", version, headers=key())
    assert not client.is_model_ready("classifier", "another", headers=key())
    assert not client.is_model_ready("weather", headers=key())


def test_binary_tensors_both_ways(client: Any, key: Key) -> None:
    result = client.infer("classifier", [texts()], request_id="order 7", headers=key())
    check(result)
    response = result.get_response()
    assert response["id"] == "order 7"
    assert [output["name"] for output in response["outputs"]] == OUTPUTS
    assert not any("data" in output for output in response["outputs"])
    assert response["parameters"]["model"] == "classifier"
    assert response["parameters"]["version"] == response["model_version"]


def test_json_says_the_same(client: Any, key: Key) -> None:
    outputs = wanted(*OUTPUTS, binary=False)
    result = client.infer("classifier", [texts(binary=False)], outputs=outputs, headers=key())
    check(result)
    assert all("data" in output for output in result.get_response()["outputs"])
    binary = client.infer("classifier", [texts()], headers=key())
    assert labels(result) == labels(binary)
    for name in OUTPUTS[1:]:
        np.testing.assert_allclose(result.as_numpy(name), binary.as_numpy(name), atol=1e-5)


@pytest.mark.parametrize("given", [True, False])
def test_each_tensor_has_its_own_form(client: Any, key: Key, given: bool) -> None:
    outputs = [*wanted("valence", binary=not given), *wanted("label", binary=given)]
    result = client.infer("classifier", [texts(binary=given)], outputs=outputs, headers=key())
    assert [output["name"] for output in result.get_response()["outputs"]] == ["valence", "label"]
    assert ("data" in result.get_output("label")) != given
    assert ("data" in result.get_output("valence")) == given
    assert labels(result)[:2] == ["positive", "negative"]
    assert result.as_numpy("valence").shape == (3,)


def test_a_column_of_texts(client: Any, key: Key) -> None:
    column = text(b"A delight.", b"A bore.", column=True)
    result = client.infer("classifier", [column], headers=key())
    assert result.as_numpy("label").tolist() == [b"positive", b"negative"]


def test_a_version_and_a_parameter(client: Any, key: Key) -> None:
    (version,) = client.get_model_metadata("classifier", headers=key())["versions"]
    result = client.infer(
        "classifier",
        [texts()],
        model_version=version,
        parameters={"allow_degraded": True},
        priority=1,
        timeout=1_000_000,
        headers=key(),
    )
    check(result)
    assert result.get_response()["model_version"] == version


def test_many_at_once(client: Any, key: Key) -> None:
    waiting = [client.async_infer("classifier", [texts()], headers=key()) for _ in range(8)]
    for each in waiting:
        check(each.get_result())


@pytest.mark.parametrize(
    ("asked", "tensor", "status", "words"),
    [
        (("weather", ""), texts(), "404", "there is no model 'weather'"),
        (("classifier", "x"), texts(), "404", "the version 'x' of classifier is not served"),
        (("classifier", ""), text(b"good", b"\xff"), "400", "text[1] is not valid UTF-8"),
        (("classifier", ""), text(b"good", b""), "400", "text[1] is empty; send a text"),
        (("classifier", ""), text(b""), "400", "text[0] is empty"),
        (("classifier", ""), text(*[b"a"] * 65), "400", "text has 65 texts and may have 64"),
    ],
)
def test_errors_say_what_is_wrong(
    client: Any, key: Key, asked: tuple[str, str], tensor: Any, status: str, words: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(asked[0], [tensor], model_version=asked[1], headers=key())
    assert caught.value.status() == status
    assert words in caught.value.message()


def test_a_stranger_and_a_compressed_body_are_refused(client: Any, key: Key) -> None:
    with pytest.raises(InferenceServerException) as stranger:
        client.infer("classifier", [texts()])
    assert stranger.value.status() == "401"
    with pytest.raises(InferenceServerException) as compressed:
        client.infer("classifier", [texts()], request_compression_algorithm="gzip", headers=key())
    assert compressed.value.status() == "415"
    assert "content-encoding" in compressed.value.message()


async def both_ways(url: str, key: Key) -> None:
    async with stock_aio.InferenceServerClient(url) as client:
        assert await client.is_server_live()
        assert await client.is_model_ready("classifier", headers=key())
        check(await client.infer("classifier", [texts()], headers=key()))
        outputs = wanted(*OUTPUTS, binary=False)
        result = await client.infer(
            "classifier", [texts(binary=False)], outputs=outputs, request_id="9", headers=key()
        )
        check(result)
        assert result.get_response()["id"] == "9"
        with pytest.raises(InferenceServerException, match="there is no model 'weather'"):
            await client.infer("weather", [texts()], headers=key())


def test_the_asynchronous_client_says_the_same(mesh: Mesh, key: Key) -> None:
    asyncio.run(both_ways(f"127.0.0.1:{mesh.port}", key))
