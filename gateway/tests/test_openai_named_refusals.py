"""What the llm refuses names the parameters as the caller of OpenAI's API knows them."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from llm_mesh import RoutedMesh, chat, error_of

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
TEXT = {"response_format": {"type": "text"}}
JSON = {"response_format": {"type": "json_object"}}
OURS = {"structured_outputs": {"regex": ".*"}}
OF_BOTH = [
    ("sampling.max_tokens", "max_tokens"),
    ("sampling.min_tokens", "min_tokens"),
    ("sampling.temperature", "temperature"),
    ("sampling.top_p", "top_p"),
    ("sampling.n", "n"),
    ("sampling.stop", "stop"),
    ("sampling.stop[1]", "stop[1]"),
    ("sampling.logit_bias", "logit_bias"),
    ("sampling.logit_bias[7]", "logit_bias[7]"),
    ("structured_output.json_schema", "structured_outputs.json"),
    ("structured_output.regex", "structured_outputs.regex"),
    ("structured_output.choice", "structured_outputs.choice"),
    ("structured_output.grammar", "structured_outputs.grammar"),
    ("structured_output", "structured_outputs"),
]


@pytest.fixture
def client(llm_mesh: RoutedMesh) -> Iterator[httpx.Client]:
    with llm_mesh.client() as opened:
        yield opened


def refused(answer: httpx.Response, param: str) -> None:
    """Says that the parameter is at fault, in the message too."""
    error = error_of(answer, 400)
    assert error == {
        "message": f"{param} is wrong, mend it",
        "type": "invalid_request_error",
        "param": param,
        "code": None,
    }


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("field", "param"),
    [
        *OF_BOTH,
        ("messages", "messages"),
        ("messages[1].content[0]", "messages[1].content[0]"),
        ("messages[1].tool_calls", "messages[1].tool_calls"),
        ("messages[1].tool_calls[0].id", "messages[1].tool_calls[0].id"),
        ("messages[1].tool_calls[0].name", "messages[1].tool_calls[0].function.name"),
        ("messages[1].tool_calls[0].arguments", "messages[1].tool_calls[0].function.arguments"),
        ("messages[3].tool_call_id", "messages[3].tool_call_id"),
        ("tools", "tools"),
        ("tools[2].name", "tools[2].function.name"),
        ("tools[2].parameters", "tools[2].function.parameters"),
        ("tool_choice.tool", "tool_choice"),
        ("tool_choice.mode", "tool_choice"),
    ],
)
def test_of_a_chat(client: httpx.Client, field: str, param: str, stream: bool) -> None:
    body = chat(f"refuse {field} is wrong, mend it", stream=stream, **OURS)
    refused(client.post(CHAT, json=body), param)


@pytest.mark.parametrize("field", ["structured_output.json_schema", "structured_output"])
@pytest.mark.parametrize(
    ("more", "form"),
    [
        (JSON, "response_format"),
        (OURS, "structured_outputs"),
        ({**TEXT, **OURS}, "structured_outputs"),
    ],
)
def test_of_the_form_of_an_answer(
    client: httpx.Client, field: str, more: dict[str, Any], form: str
) -> None:
    ours = form == "structured_outputs" and field.endswith(".json_schema")
    answer = client.post(CHAT, json=chat(f"refuse {field} is wrong, mend it", **more))
    refused(answer, f"{form}.json" if ours else form)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("field", "param"), [*OF_BOTH, ("text", "prompt"), ("token_ids", "prompt")]
)
def test_of_a_completion(client: httpx.Client, field: str, param: str, stream: bool) -> None:
    prompt = f"refuse {field} is wrong, mend it"
    body = {"model": "llm", "prompt": prompt, "stream": stream}
    refused(client.post(COMPLETIONS, json=body), param)
