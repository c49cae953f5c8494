"""The gateway keeps to the OpenAPI document that it serves, in front of the real classifier."""

import json
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate
from real_mesh import ROOT, Answer, Mesh

CLASSIFY = "/v1/classify"
COMMITTED = ROOT / "docs" / "openapi.json"
LABELS = {"negative", "neutral", "positive"}
ONLY_BINARY = {"inference-header-content-length"}
KIB = 1024
MAX_TEXTS = 64


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)


def test_the_document_is_the_committed_one(document: dict[str, Any]) -> None:
    """A change of the contract shows in the history: save /openapi.json there, indented by 2."""
    assert json.dumps(document, indent=2) + "\n" == COMMITTED.read_text()


def resolved(document: dict[str, Any], described: dict[str, Any]) -> dict[str, Any]:
    """What is described, wherever it stands in the document."""
    if "$ref" not in described:
        return described
    kind, name = described["$ref"].split("/")[-2:]
    found: dict[str, Any] = document["components"][kind][name]
    return found


def check(document: dict[str, Any], method: str, path: str, answer: Answer) -> Any:
    """Checks an answer against what the document says of this operation and status."""
    documented = document["paths"][path][method]["responses"]
    assert str(answer.status) in documented, answer.body
    described = resolved(document, documented[str(answer.status)])
    content = described["content"][answer.headers["content-type"]]
    assert set(described.get("headers", {})) - ONLY_BINARY <= set(answer.headers)
    schema = {**content["schema"], "components": document["components"]}
    jsonschema.validate(answer.json, schema, jsonschema.Draft202012Validator)
    return answer.json


@pytest.mark.parametrize(
    "path", ["/health", "/ready", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models"]
)
def test_operations_answer_as_documented(mesh: Mesh, document: dict[str, Any], path: str) -> None:
    check(document, "get", path, mesh.ask("GET", path))


def test_texts_are_classified_as_documented(mesh: Mesh, document: dict[str, Any]) -> None:
    texts = ["A delight from start to end.", "The plot goes nowhere, slowly.", "word " * 2000]
    answer = mesh.classify({"texts": texts, "allow_degraded": False}, x_request_id="contract-1")
    body = check(document, "post", CLASSIFY, answer)
    assert answer.headers["x-request-id"] == "contract-1"
    assert [result["status"] for result in body["results"]] == ["ok"] * 3
    assert [result["truncated"] for result in body["results"]] == [False, False, True]
    for result in body["results"]:
        assert result["label"] in LABELS
        assert set(result["probabilities"]) == LABELS
        assert sum(result["probabilities"].values()) == pytest.approx(1)
        assert result["degraded"] is None
    assert body["lineage"]["model"] == "classifier"
    assert all(body["lineage"][name] for name in ("version", "variant", "run", "deployment"))


@pytest.mark.parametrize("version", ["", "/versions/{version}"])
def test_tensors_are_answered_as_documented(
    mesh: Mesh, document: dict[str, Any], version: str
) -> None:
    model = f"/v2/models/{{model}}{version}"
    (serving,) = mesh.ask("GET", "/v2/models/classifier").json["versions"]

    def ask(method: str, path: str, body: bytes | None = None) -> Any:
        filled = path.format(model="classifier", version=serving)
        return check(document, method.lower(), path, mesh.ask(method, filled, body))

    assert ask("GET", model)["versions"] == [serving]
    assert ask("GET", f"{model}/ready") == {"name": "classifier", "ready": True}
    tensor = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["A delight.", "A bore."]}
    answer = ask("POST", f"{model}/infer", json.dumps({"inputs": [tensor], "id": "7"}).encode())
    assert answer["outputs"][0]["data"] == ["positive", "negative"]
    assert (answer["id"], answer["model_version"]) == ("7", serving)
    refused = ask("POST", f"{model}/infer", b"{}")
    assert refused["error"].startswith("body: object missing required field 'inputs'")


@pytest.mark.parametrize(
    ("body", "fields", "words"),
    [
        ({"texts": []}, ["texts"], "texts is empty; send one text at least"),
        ({"texts": [""]}, ["texts[0]"], "texts[0] is empty; send a text"),
        ({"texts": ["a", " "]}, ["texts[1]"], "texts[1] has nothing but white space"),
        ({"texts": ["", "a", ""]}, ["texts[0]", "texts[2]"], "texts[2] is empty"),
        ({"texts": ["a" * (64 * KIB + 1)]}, ["texts[0]"], "has 65537 bytes of UTF-8 and may have"),
        ({"texts": ["a"] * (MAX_TEXTS + 1)}, ["texts"], "has 65 texts and may have 64"),
        ({"texts": "a"}, ["texts"], "expected 'array', got 'str'"),
        ({"texts": [1]}, ["texts[0]"], "expected 'str', got 'int'"),
        ({"texts": ["a"], "more": 1}, ["body"], "unknown field 'more'"),
        ({}, ["body"], "missing required field 'texts'"),
    ],
)
def test_bad_input_names_its_field_and_its_remedy(
    mesh: Mesh, document: dict[str, Any], body: object, fields: list[str], words: str
) -> None:
    answer = mesh.classify(body)
    problem = check(document, "post", CLASSIFY, answer)
    assert answer.status == 400
    assert words in problem["detail"]
    assert [violation["field"] for violation in problem["violations"]] == fields


@pytest.mark.parametrize(
    ("status", "reason", "body", "headers"),
    [
        (400, "BODY_NOT_JSON", b'{"texts": [', {}),
        (400, "BODY_NOT_UTF8", b'{"texts": ["\xff"]}', {}),
        (400, "INVALID_ARGUMENT", b'{"texts": ["a"]}', {"x_request_timeout_ms": "0"}),
        (401, "KEY_MISSING", b'{"texts": ["a"]}', {"authorization": None}),
        (401, "KEY_MALFORMED", b'{"texts": ["a"]}', {"authorization": "Bearer mesh_1_2"}),
        (413, "PAYLOAD_TOO_LARGE", b" " * (4 * KIB * KIB + 1), {}),
        (415, "UNSUPPORTED_MEDIA_TYPE", b"a", {"content_type": "text/plain"}),
        (504, "DEADLINE_EXCEEDED", None, {"x_request_timeout_ms": "1"}),
    ],
)
def test_errors_are_problems_as_documented(
    mesh: Mesh,
    document: dict[str, Any],
    status: int,
    reason: str,
    body: bytes | None,
    headers: dict[str, str | None],
) -> None:
    slow = json.dumps({"texts": ["word " * 200] * MAX_TEXTS}).encode()
    answer = mesh.ask("POST", CLASSIFY, slow if body is None else body, **headers)
    problem = check(document, "post", CLASSIFY, answer)
    assert (answer.status, problem["reason"]) == (status, reason)
    assert problem["request_id"] == answer.headers["x-request-id"]


def test_a_revoked_key_is_refused(mesh: Mesh, document: dict[str, Any]) -> None:
    key = mesh.command("keys", "create", "short-lived").strip()
    key_id = key.split("_")[1]
    mesh.command("keys", "revoke", key_id)
    answer = mesh.classify({"texts": ["a"]}, authorization=f"Bearer {key}")
    assert check(document, "post", CLASSIFY, answer)["reason"] == "KEY_REVOKED"


def test_every_reason_is_in_the_guide(document: dict[str, Any]) -> None:
    guide = (ROOT / "docs" / "gateway.md").read_text()
    for path in document["paths"]:
        assert f"{path}`" in guide
    for status in document["paths"][CLASSIFY]["post"]["responses"]:
        assert status == "200" or f"| {status} |" in guide
