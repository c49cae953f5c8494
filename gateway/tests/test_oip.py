"""The Open Inference Protocol, from HTTP to the service and back."""

import ast
import asyncio
import json
import re
import secrets
import signal
import struct
from pathlib import Path

import httpx
import numpy as np
import pytest

from mesh_gateway import server_info
from meshkit.lineage_store import Answer, LineageStore
from meshkit.oip import lineage_parameters
from oip_calls import (
    HEADER,
    INFER,
    MODEL,
    binary_text,
    infer,
    infer_binary,
    output,
    raw,
    refusal,
    text,
)
from processes import Mesh, until

LINEAGE = {
    "model": "classifier",
    "version": "stand-in-1",
    "variant": "default",
    "run": "none",
    "deployment": "test",
}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        (
            "/v2",
            {
                "name": "inference-mesh",
                "version": server_info.VERSION,
                "extensions": ["binary_tensor_data"],
            },
        ),
    ],
)
def test_what_the_gateway_says_of_itself_needs_no_key(
    mesh: Mesh, path: str, body: dict[str, object]
) -> None:
    response = httpx.get(mesh.gateway.url + path)
    assert (response.status_code, response.json()) == (200, body)
    assert response.headers["content-type"] == "application/json"


def test_models_are_listed(mesh: Mesh, client: httpx.Client) -> None:
    assert client.get("/v2/models").json() == {"models": ["classifier"]}
    writer = mesh.make_key(scopes=frozenset({"classifier:predict"}))
    with mesh.client(writer) as may_not_read:
        assert may_not_read.get("/v2/models").json() == {"models": []}


@pytest.mark.parametrize("path", [MODEL, f"{MODEL}/versions/stand-in-1"])
def test_a_model_is_described(client: httpx.Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.json() == {
        "name": "classifier",
        "versions": ["stand-in-1"],
        "platform": "stand_in",
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "valence", "datatype": "FP32", "shape": [-1]},
            {"name": "truncated", "datatype": "BOOL", "shape": [-1]},
            {"name": "degraded", "datatype": "BOOL", "shape": [-1]},
        ],
    }
    assert client.get(f"{path}/ready").json() == {"name": "classifier", "ready": True}


def test_tensors_in_json(client: httpx.Client) -> None:
    response = infer(client, inputs=[text("truncated", "caf\u00e9 \N{SNOWMAN}")], id="order-1")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert HEADER not in response.headers
    assert response.json() == {
        "model_name": "classifier",
        "model_version": "stand-in-1",
        "id": "order-1",
        "parameters": LINEAGE,
        "outputs": [
            {
                "name": "label",
                "shape": [2],
                "datatype": "BYTES",
                "data": ["truncated", "caf\u00e9 \N{SNOWMAN}"],
            },
            {
                "name": "probabilities",
                "shape": [2, 2],
                "datatype": "FP32",
                "data": [0.25, 0.75, 0.25, 0.75],
            },
            {"name": "valence", "shape": [2], "datatype": "FP32", "data": [1.5, 1.5]},
            {"name": "truncated", "shape": [2], "datatype": "BOOL", "data": [True, False]},
            {"name": "degraded", "shape": [2], "datatype": "BOOL", "data": [False, False]},
        ],
    }


def test_an_id_that_was_not_given_is_not_there(client: httpx.Client) -> None:
    assert "id" not in infer(client, inputs=[text("a")]).json()


def test_nested_data_and_a_column(client: httpx.Client) -> None:
    column = {**text("a", "b"), "shape": [2, 1], "data": [["a"], ["b"]]}
    assert output(infer(client, inputs=[column])) == ["a", "b"]


def test_only_the_outputs_that_are_asked_for(client: httpx.Client) -> None:
    response = infer(client, inputs=[text("a")], outputs=[{"name": "degraded"}, {"name": "label"}])
    assert [each["name"] for each in response.json()["outputs"]] == ["degraded", "label"]


@pytest.mark.parametrize("version", ["", "/versions/stand-in-1"])
def test_the_version_that_serves_can_be_asked_for(client: httpx.Client, version: str) -> None:
    response = infer(client, f"{MODEL}{version}/infer", inputs=[text("a")])
    assert output(response) == ["a"]
    assert response.json()["model_version"] == "stand-in-1"


def test_fields_that_are_not_of_the_protocol_are_ignored(client: httpx.Client) -> None:
    response = infer(client, inputs=[text("a", more=1)], model_name="classifier")
    assert output(response) == ["a"]


def test_parameters_reach_the_model_but_for_those_of_http(client: httpx.Client) -> None:
    response = infer(
        client,
        inputs=[text("parameters")],
        parameters={"binary_data_output": False, "priority": 3, "share": 0.5, "tag": "x"},
        outputs=[{"name": "label"}],
    )
    assert ast.literal_eval(output(response)[0]) == {"priority": 3, "share": 0.5, "tag": "x"}


def test_fallbacks_are_refused_unless_allowed(client: httpx.Client) -> None:
    assert output(infer(client, inputs=[text("allow_degraded")])) == ["False"]
    allowed = infer(client, inputs=[text("allow_degraded")], parameters={"allow_degraded": True})
    assert output(allowed) == ["True"]


def test_binary_tensors_both_ways(client: httpx.Client) -> None:
    elements = b"one", b"\xff\x00 no text", "caf\u00e9".encode()
    response = infer_binary(
        client,
        raw(*elements),
        inputs=[binary_text(*elements)],
        parameters={"binary_data_output": True},
        id="7",
    )
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers[HEADER])
    body = json.loads(response.content[:length])
    tail = response.content[length:]
    assert body["id"] == "7"
    sizes = [each["parameters"]["binary_data_size"] for each in body["outputs"]]
    assert sizes == [len(raw(*elements)), 24, 12, 3, 3]
    assert not any("data" in each for each in body["outputs"])
    assert tail == raw(*elements) + struct.pack("<6f", *[0.25, 0.75] * 3) + struct.pack(
        "<3f", 1.5, 1.5, 1.5
    ) + bytes(6)


def test_some_outputs_binary_and_some_not(client: httpx.Client) -> None:
    response = infer(
        client,
        inputs=[text("a", "b")],
        parameters={"binary_data_output": True},
        outputs=[
            {"name": "label", "parameters": {"binary_data": False}},
            {"name": "probabilities"},
            {"name": "degraded", "parameters": {"binary_data": True}},
        ],
    )
    length = int(response.headers[HEADER])
    label, probabilities, degraded = json.loads(response.content[:length])["outputs"]
    assert label["data"] == ["a", "b"]
    assert "parameters" not in label
    assert probabilities["parameters"] == {"binary_data_size": 16}
    assert degraded["parameters"] == {"binary_data_size": 2}
    array = np.frombuffer(response.content[length : length + 16], "<f4").reshape(2, 2)
    assert array.tolist() == [[0.25, 0.75], [0.25, 0.75]]
    assert response.content[length + 16 :] == b"\0\0"


def test_the_header_may_stand_where_all_is_json(client: httpx.Client) -> None:
    assert output(infer_binary(client, b"", inputs=[text("a")])) == ["a"]


@pytest.mark.parametrize("media_type", ["application/octet-stream", "application/json", None])
def test_the_media_type_is_json_or_binary(client: httpx.Client, media_type: str | None) -> None:
    headers = {"content-type": media_type} if media_type else {}
    content = json.dumps({"inputs": [text("a")]}).encode()
    assert output(client.post(INFER, content=content, headers=headers)) == ["a"]


def test_a_number_without_a_form_in_json_comes_as_bytes(client: httpx.Client) -> None:
    outputs = [{"name": "valence"}]
    message = refusal(infer(client, inputs=[text("a", "nan")], outputs=outputs), 400)
    assert message == (
        "valence[1] is nan, which has no form in JSON; ask for the output as binary data"
    )
    response = infer(
        client,
        inputs=[text("a", "nan")],
        outputs=outputs,
        parameters={"binary_data_output": True},
    )
    array = np.frombuffer(response.content[int(response.headers[HEADER]) :], "<f4")
    np.testing.assert_array_equal(array, [1.5, np.nan])


def test_the_service_learns_who_asks_and_until_when(mesh: Mesh, client: httpx.Client) -> None:
    asked = client.post(
        INFER, json={"inputs": [text("who", "time")]}, headers={"x-request-id": "oip-1"}
    )
    who, left_s = output(asked)
    assert who == f"{mesh.key.id} shop oip-1"
    assert 5 < float(left_s) <= 10
    hasty = client.post(
        INFER, json={"inputs": [text("time")]}, headers={"x-request-timeout-ms": "4000"}
    )
    assert 0 < float(output(hasty)[0]) <= 4


def test_limits_and_times_are_told(client: httpx.Client) -> None:
    headers = infer(client, inputs=[text("a")]).headers
    assert headers["ratelimit-policy"].startswith('"key";q=1000')
    assert re.fullmatch(r"gateway;dur=\S+, backend;dur=\S+", headers["server-timing"])


def test_an_answer_is_remembered_with_its_lineage(mesh: Mesh, client: httpx.Client) -> None:
    request_id = secrets.token_hex(8)
    client.post(INFER, json={"inputs": [text("a")]}, headers={"x-request-id": request_id})

    async def find() -> list[Answer]:
        async with LineageStore(mesh.redis.url) as store:
            return await store.find(request_id)

    until(lambda: asyncio.run(find()) != [], "the record")
    (answer,) = asyncio.run(find())
    assert lineage_parameters(answer.lineage) == LINEAGE


def test_a_model_whose_service_is_away_is_not_ready(own_mesh: Mesh) -> None:
    own_mesh.service.kill()
    until(lambda: own_mesh.backend_state() == "unavailable", "the service's end")
    with own_mesh.client() as client:
        for response in (client.get(f"{MODEL}/ready"), infer(client, inputs=[text("a")])):
            assert "classifier" in refusal(response, 503)
            assert int(response.headers["retry-after"]) >= 1
        assert client.get("/v2/health/ready").json() == {"ready": True}


def test_a_gateway_that_leaves_is_not_ready(tmp_path: Path) -> None:
    with Mesh(tmp_path, MESH_DRAIN_DELAY_S=60) as mesh, mesh.client() as client:
        mesh.gateway.signal(signal.SIGTERM)
        until(lambda: "draining" in mesh.gateway.log, "the drain")
        message = refusal(client.get("/v2/health/ready"), 503)
        assert message == "the gateway is leaving; ask another one"
        assert client.get("/v2/health/live").json() == {"live": True}
        assert output(infer(client, inputs=[text("a")])) == ["a"]
