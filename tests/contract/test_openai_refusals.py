"""What the real llm service refuses, through the door that is compatible with OpenAI's API.

The service checks requests before anything is generated, whichever engine it has; here that is a
remote one which is not there.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from real_mesh import ROOT, Mesh, Process, free_ports

CHAT = "/v1/chat/completions"
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {}}}
USER = {"role": "user", "content": "hi"}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
DEEP: dict[str, Any] = {"type": "object"}
for _ in range(40):
    DEEP = {"type": "object", "properties": {"a": DEEP}}


@pytest.fixture(scope="module")
def llm_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A gateway before the real llm service, whose upstream is not there."""
    folder = tmp_path_factory.mktemp("llm")
    port, admin_port, nobody = free_ports(3)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    environment = {
        **kept,
        "MESH_LLM_ENGINE": "remote",
        "MESH_LLM_UPSTREAM_URL": f"http://127.0.0.1:{nobody}/v1",
        "MESH_LLM_GRPC_PORT": str(port),
        "MESH_LLM_ADMIN_PORT": str(admin_port),
    }
    python = ROOT / "services/llm/.venv/bin/python"
    llm = Process([str(python), "-m", "mesh_llm"], environment, folder / "llm.log")
    llm.start()
    target = f"127.0.0.1:{port}"
    try:
        with Mesh(folder, folder, classifiers=0, MESH_GATEWAY_LLM_TARGET=target) as mesh:
            mesh.until(lambda: mesh.ask("GET", "/ready").json["backends"]["llm"] == "ready", "llm")
            yield mesh
    finally:
        llm.end()


def asked(mesh: Mesh, path: str = CHAT, **more: Any) -> tuple[int, dict[str, Any]]:
    """The status and the error of a request."""
    body = {"model": "llm", **({"messages": [USER]} if path == CHAT else {}), **more}
    answer = mesh.ask("POST", path, json.dumps(body).encode())
    error: dict[str, Any] = answer.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer.status, error


@pytest.mark.parametrize(
    ("more", "param", "words"),
    [
        (
            {"messages": [USER, {"role": "tool", "tool_call_id": "1", "content": "x"}]},
            "messages[1].tool_call_id",
            "no earlier message has a call of that id",
        ),
        (
            {
                "messages": [
                    USER,
                    {
                        "role": "assistant",
                        "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "no JSON"}}],
                    },
                ]
            },
            "messages[1].tool_calls[0].function.arguments",
            "send a JSON object as text",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}],
                    }
                ]
            },
            "messages[0].content[0]",
            "this model reads text alone",
        ),
        ({"top_p": 0}, "top_p", "send a number in (0, 1]"),
        ({"n": 100}, "n", "send a number from 1 to"),
        ({"max_tokens": 2, "min_tokens": 3}, "min_tokens", "a number from 0 to max_tokens"),
        ({"stop": [""]}, "stop[0]", "has 0 bytes"),
        ({"stop": ["x"] * 17}, "stop", "has 17 texts and may have 16"),
        (
            {"tools": [{"type": "function", "function": {"name": "not a name"}}]},
            "tools[0].function.name",
            "use 1 to 64 letters",
        ),
        ({"tools": [TOOL, TOOL]}, "tools[1].function.name", "as an earlier tool's"),
        (
            {
                "tools": [
                    {"type": "function", "function": {"name": "f", "parameters": {"type": "king"}}}
                ]
            },
            "tools[0].function.parameters",
            "is no JSON Schema",
        ),
        (
            {
                "tools": [TOOL],
                "tool_choice": {"type": "function", "function": {"name": "another"}},
            },
            "tool_choice",
            "the tools are: f",
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "deep", "schema": DEEP},
                }
            },
            "response_format",
            "levels",
        ),
        (
            {"structured_outputs": {"regex": "(a{1000}){1000}"}},
            "structured_outputs.regex",
            "states",
        ),
        ({"structured_outputs": {"choice": ["a"]}}, "structured_outputs.choice", "send 2 to"),
        ({"messages": [{**USER, "content": "x" * 2**20}]}, "messages", "send less"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_refused_is_named_as_the_caller_knows_it(
    llm_mesh: Mesh, more: dict[str, Any], param: str, words: str, stream: bool
) -> None:
    status, error = asked(llm_mesh, stream=stream, **more)
    assert (status, error["type"]) == (400, "invalid_request_error")
    assert (error["param"], error["code"]) == (param, None)
    assert words in error["message"]


def test_a_model_that_there_is_not(llm_mesh: Mesh) -> None:
    status, error = asked(llm_mesh, model="gpt-9")
    assert (status, error["type"]) == (404, "invalid_request_error")
    assert error["code"] == "model_not_found"


def test_an_upstream_that_is_not_there(llm_mesh: Mesh) -> None:
    status, error = asked(llm_mesh)
    assert (status, error["type"]) == (503, "server_error")


def test_a_completion(llm_mesh: Mesh) -> None:
    status, error = asked(llm_mesh, "/v1/completions", prompt="")
    assert (status, error["param"]) == (400, "prompt")
    assert error["message"].startswith("prompt is empty")


@pytest.mark.parametrize(
    ("more", "param", "words"),
    [
        (
            {"input": [USER, {"type": "function_call_output", "call_id": "1", "output": "x"}]},
            "input[1].call_id",
            "no earlier message has a call of that id",
        ),
        (
            {
                "instructions": "be brief",
                "input": [
                    {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
                    {"type": "function_call", "call_id": "2", "name": "f", "arguments": "no JSON"},
                ],
            },
            "input[1].arguments",
            "send a JSON object as text",
        ),
        ({"input": "x" * 2**20}, "input", "send less"),
        ({"input": "hi", "top_p": 0}, "top_p", "send a number in (0, 1]"),
        (
            {"input": "hi", "tools": [{"type": "function", "name": "not a name"}]},
            "tools[0].name",
            "use 1 to 64 letters",
        ),
        (
            {
                "input": "hi",
                "text": {"format": {"type": "json_schema", "name": "deep", "schema": DEEP}},
            },
            "text.format",
            "levels",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_refused_of_a_response(
    llm_mesh: Mesh, more: dict[str, Any], param: str, words: str, stream: bool
) -> None:
    status, error = asked(llm_mesh, "/v1/responses", stream=stream, **more)
    assert (status, error["type"]) == (400, "invalid_request_error")
    assert (error["param"], error["code"]) == (param, None)
    assert words in error["message"]
