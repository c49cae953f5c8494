"""The two that the oracle asks: the service over gRPC, and vLLM's own server over HTTP."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import grpc
import httpx

from engine_service import CALL_S, Answer, Choice, gather
from mesh.llm.v1 import llm_pb2
from oracle_table import Row

# Fields of Sampling that the server calls by the same name.
_SAME: Final = (
    *("max_tokens", "temperature", "top_p", "top_k", "min_p", "presence_penalty"),
    *("frequency_penalty", "repetition_penalty", "seed", "n", "min_tokens", "ignore_eos"),
)
_ROLES: Final = {
    "system": llm_pb2.ROLE_SYSTEM,
    "user": llm_pb2.ROLE_USER,
    "assistant": llm_pb2.ROLE_ASSISTANT,
    "tool": llm_pb2.ROLE_TOOL,
}
_MODES: Final = {
    "auto": llm_pb2.TOOL_CHOICE_MODE_AUTO,
    "none": llm_pb2.TOOL_CHOICE_MODE_NONE,
    "required": llm_pb2.TOOL_CHOICE_MODE_REQUIRED,
}


@dataclass(frozen=True)
class Observed:
    """What one of them answered.

    Attributes:
        texts: of each choice.
        calls: of each choice, the name and the arguments of each call.
        reasons: why each choice ended.
        prompt_tokens: of the prompt.
        completion_tokens: of all choices.
        logprobs: of each choice, for each token: text, logprob, texts of the likeliest ones.
    """

    texts: Sequence[str]
    calls: Sequence[Sequence[tuple[str, Any]]]
    reasons: Sequence[str]
    prompt_tokens: int
    completion_tokens: int
    logprobs: Sequence[Sequence[tuple[str, float, Sequence[str]]]]


def body_of(row: Row) -> dict[str, Any]:
    """The whole body of a request."""
    return {"model": "llm", "temperature": 0, **row.body}


async def ask_server(client: httpx.AsyncClient, row: Row) -> Observed | None:
    """Asks vLLM's own server; None where it refuses."""
    path = "/v1/chat/completions" if row.chat else "/v1/completions"
    response = await client.post(path, json=body_of(row), timeout=CALL_S)
    if response.status_code == HTTPStatus.BAD_REQUEST:
        return None
    assert response.status_code == HTTPStatus.OK, f"{row.name}: {response.text}"
    answer = response.json()
    choices = sorted(answer["choices"], key=lambda choice: choice["index"])
    if row.chat:
        messages = [choice["message"] for choice in choices]
        texts = [message["content"] or "" for message in messages]
        calls = [
            [
                (call["function"]["name"], _parsed(call["function"]["arguments"]))
                for call in message.get("tool_calls") or ()
            ]
            for message in messages
        ]
        logprobs = [_chat_logprobs(choice["logprobs"]) for choice in choices]
    else:
        texts = [choice["text"] for choice in choices]
        calls = [[] for _ in choices]
        logprobs = [_text_logprobs(choice["logprobs"]) for choice in choices]
    return Observed(
        texts=texts,
        calls=calls,
        reasons=[choice["finish_reason"] for choice in choices],
        prompt_tokens=answer["usage"]["prompt_tokens"],
        completion_tokens=answer["usage"]["completion_tokens"],
        logprobs=logprobs,
    )


async def ask_service(stub: Any, row: Row) -> Observed | None:
    """Asks the service; None where it refuses."""
    body = body_of(row)
    try:
        if row.chat:
            answer = await gather(stub.Chat(chat_of(body), timeout=CALL_S))
        else:
            answer = await _gather_text(stub.Complete(completion_of(body), timeout=CALL_S))
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
            raise
        return None
    return _observed(answer)


def chat_of(body: Mapping[str, Any]) -> llm_pb2.ChatRequest:
    """The body of a chat in the words of the contract."""
    request = llm_pb2.ChatRequest(
        messages=[_message(message) for message in body["messages"]],
        sampling=_sampling(body),
        tools=[_tool(tool["function"]) for tool in body.get("tools", ())],
        structured_output=_form(body),
    )
    choice = body.get("tool_choice")
    if isinstance(choice, str):
        request.tool_choice.mode = _MODES[choice]
    elif choice:
        request.tool_choice.tool = choice["function"]["name"]
    if "parallel_tool_calls" in body:
        request.parallel_tool_calls = body["parallel_tool_calls"]
    if body.get("logprobs"):
        request.sampling.logprobs = body["top_logprobs"]
    return request


def completion_of(body: Mapping[str, Any]) -> llm_pb2.CompleteRequest:
    """The body of a completion in the words of the contract."""
    prompt = body["prompt"]
    request = llm_pb2.CompleteRequest(sampling=_sampling(body), structured_output=_form(body))
    if isinstance(prompt, str):
        request.text = prompt
    else:
        request.token_ids.ids.extend(prompt)
    if "logprobs" in body:
        request.sampling.logprobs = body["logprobs"]
    return request


def _message(message: Mapping[str, Any]) -> llm_pb2.Message:
    content = message["content"] or ()
    texts = [content] if isinstance(content, str) else [part["text"] for part in content]
    return llm_pb2.Message(
        role=_ROLES[message["role"]],
        content=[llm_pb2.ContentPart(text=text) for text in texts],
        name=message.get("name", ""),
        tool_calls=[
            llm_pb2.ToolCall(id=call["id"], **call["function"])
            for call in message.get("tool_calls", ())
        ],
        tool_call_id=message.get("tool_call_id", ""),
    )


def _tool(function: Mapping[str, Any]) -> llm_pb2.Tool:
    return llm_pb2.Tool(
        name=function["name"],
        description=function["description"],
        parameters=json.dumps(function["parameters"]),
    )


def _sampling(body: Mapping[str, Any]) -> llm_pb2.Sampling:
    stop = body.get("stop", ())
    return llm_pb2.Sampling(
        **{name: body[name] for name in _SAME if name in body},
        stop=[stop] if isinstance(stop, str) else stop,
        logit_bias={int(token): bias for token, bias in body.get("logit_bias", {}).items()},
    )


def _form(body: Mapping[str, Any]) -> llm_pb2.StructuredOutput | None:
    wanted = body.get("response_format", {})
    if wanted.get("type") == "json_object":
        return llm_pb2.StructuredOutput(json_object=llm_pb2.AnyJsonObject())
    if wanted:
        forms = {"json": wanted["json_schema"]["schema"]}
    else:
        forms = body.get("structured_outputs", {})
    for kind, form in forms.items():
        match kind:
            case "json":
                return llm_pb2.StructuredOutput(json_schema=json.dumps(form))
            case "choice":
                return llm_pb2.StructuredOutput(choice=llm_pb2.Choices(texts=form))
            case _:
                return llm_pb2.StructuredOutput(**{kind: form})
    return None


async def _gather_text(call: Any) -> Answer:
    """Puts the deltas of a completion together."""
    choices: dict[int, Choice] = defaultdict(Choice)
    usage, messages = llm_pb2.Usage(), 0
    async for message in call:
        messages += 1
        usage = message.usage
        if not message.HasField("delta"):
            continue
        choice = choices[message.delta.choice]
        choice.content += message.delta.text
        choice.logprobs += message.delta.logprobs
        if message.delta.finish_reason:
            reason = llm_pb2.FinishReason.Name(message.delta.finish_reason)
            choice.reason = reason.removeprefix("FINISH_REASON_").lower()
    return Answer(dict(choices), usage, messages)


def _observed(answer: Answer) -> Observed:
    choices = [answer.choices[index] for index in sorted(answer.choices)]
    return Observed(
        texts=[choice.content for choice in choices],
        calls=[
            [(name, _parsed(arguments)) for name, arguments in choice.calls.values()]
            for choice in choices
        ],
        reasons=[choice.reason for choice in choices],
        prompt_tokens=answer.usage.prompt_tokens,
        completion_tokens=answer.usage.completion_tokens,
        logprobs=[
            [
                (each.token.text, each.token.logprob, [one.text for one in each.top])
                for each in choice.logprobs
            ]
            for choice in choices
        ],
    )


def _parsed(arguments: str) -> Any:
    """Arguments as what they are, or as text where they were cut short."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _chat_logprobs(logprobs: Any) -> list[tuple[str, float, list[str]]]:
    return [
        (each["token"], each["logprob"], [one["token"] for one in each["top_logprobs"]])
        for each in (logprobs or {}).get("content") or ()
    ]


def _text_logprobs(logprobs: Any) -> list[tuple[str, float, list[str]]]:
    if not logprobs:
        return []
    rows = zip(
        logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True
    )
    return [(token, logprob, list(top)) for token, logprob, top in rows]
