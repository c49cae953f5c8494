"""What the default model answers, through vLLM."""

import json
import re
from typing import Any

import grpc
import jsonschema
import pytest

from engine_service import CALL_S, gather
from mesh.llm.v1 import llm_pb2
from serving import refused, request

pytestmark = pytest.mark.full

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "colour": {"enum": ["red", "blue"]},
    },
    "required": ["name", "age", "colour"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [
    llm_pb2.Tool(name="get_weather", description="Weather.", parameters=json.dumps(WEATHER)),
    llm_pb2.Tool(name="get_time", description="The time of day."),
]


def greedy(max_tokens: int = 40, **more: Any) -> llm_pb2.Sampling:
    return llm_pb2.Sampling(temperature=0, max_tokens=max_tokens, **more)


async def test_an_answer_streams(stub: Any) -> None:
    asked = request("Say hello in French.", sampling=greedy())
    answer = await gather(stub.Chat(asked, timeout=CALL_S))
    assert "Bonjour" in answer.only.content
    assert answer.only.reason == "stop"
    assert answer.messages >= answer.usage.completion_tokens - 1 > 1
    again = await gather(stub.Chat(asked, timeout=CALL_S))
    assert again.only.content == answer.only.content


async def test_tokens_are_counted_as_they_are_told(
    stub: Any, model: llm_pb2.GetModelResponse
) -> None:
    asked = request("Say hello.", sampling=greedy(3))
    answer = await gather(stub.Chat(asked, timeout=CALL_S))
    conversation = llm_pb2.Conversation(messages=asked.messages)
    told = await stub.Tokenize(llm_pb2.TokenizeRequest(conversation=conversation), timeout=CALL_S)
    assert len(told.token_ids) == answer.usage.prompt_tokens
    assert told.max_context_tokens == model.max_context_tokens
    assert (answer.usage.completion_tokens, answer.only.reason) == (3, "length")


async def test_a_long_beginning_is_computed_once(stub: Any) -> None:
    story = "There once was a fox who lived beside a river. " * 20
    for expected in (0, 128):
        asked = request(story + "Who?", sampling=greedy(2))
        answer = await gather(stub.Chat(asked, timeout=CALL_S))
        assert answer.usage.cached_prompt_tokens >= expected


async def test_a_completion_continues_text_and_tokens_alike(stub: Any) -> None:
    text = "def add(a, b):\n    return a"
    told = await stub.Tokenize(llm_pb2.TokenizeRequest(text=text), timeout=CALL_S)
    texts = []
    for prompt in ({"text": text}, {"token_ids": llm_pb2.TokenIds(ids=told.token_ids)}):
        asked = llm_pb2.CompleteRequest(**prompt, sampling=greedy(4))
        deltas = [m.delta.text async for m in stub.Complete(asked, timeout=CALL_S)]
        texts.append("".join(deltas))
    assert texts[0] == texts[1]
    assert texts[0].startswith(" + b")


async def test_json_fits_its_schema(stub: Any) -> None:
    form = llm_pb2.StructuredOutput(json_schema=json.dumps(PERSON))
    asked = request("Make a person up.", sampling=greedy(200), structured_output=form)
    answer = await gather(stub.Chat(asked, timeout=CALL_S))
    jsonschema.validate(json.loads(answer.only.content), PERSON)
    assert answer.only.reason == "stop"


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"regex": "[0-9]{3}-[0-9]{2}"}, r"\A\d{3}-\d{2}\Z"),
        ({"choice": llm_pb2.Choices(texts=["red", "blue"])}, r"\A(red|blue)\Z"),
        ({"grammar": 'root ::= "yes" | "no"'}, r"\A(yes|no)\Z"),
        ({"json_object": llm_pb2.AnyJsonObject()}, r"\A\{"),
    ],
)
async def test_other_forms_hold_too(stub: Any, form: dict[str, Any], expected: str) -> None:
    asked = request(
        "Is the sky blue?",
        sampling=greedy(30),
        structured_output=llm_pb2.StructuredOutput(**form),
    )
    answer = await gather(stub.Chat(asked, timeout=CALL_S))
    assert re.search(expected, answer.only.content)


@pytest.mark.parametrize(
    "form",
    [
        {"grammar": "root ::= nothing"},
        {"regex": "(?<=a)b"},
    ],
)
async def test_what_can_not_be_compiled_is_the_callers_to_mend(
    stub: Any, form: dict[str, Any]
) -> None:
    asked = request("a", structured_output=llm_pb2.StructuredOutput(**form), sampling=greedy(4))
    error = await refused(stub.Chat(asked, timeout=CALL_S))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error.details()


async def test_a_required_call_is_made_and_parses(stub: Any) -> None:
    choice = llm_pb2.ToolChoice(mode=llm_pb2.TOOL_CHOICE_MODE_REQUIRED)
    asked = request("Weather in Paris?", tools=TOOLS, tool_choice=choice, sampling=greedy(120))
    answer = await gather(stub.Chat(asked, timeout=CALL_S))
    assert answer.only.reason == "tool_calls"
    assert not answer.only.content.strip()
    for name, arguments in answer.only.calls.values():
        assert name in {"get_weather", "get_time"}
        if name == "get_weather":
            jsonschema.validate(json.loads(arguments), WEATHER)


async def test_a_named_tool_is_called_once(stub: Any) -> None:
    choice = llm_pb2.ToolChoice(tool="get_time")
    asked = request("Weather in Paris?", tools=TOOLS, tool_choice=choice, sampling=greedy(80))
    answer = await gather(stub.Chat(asked, timeout=CALL_S))
    ((name, arguments),) = answer.only.calls.values()
    assert (name, json.loads(arguments)) == ("get_time", {})


async def test_without_a_choice_of_tools_there_is_text(stub: Any) -> None:
    choice = llm_pb2.ToolChoice(mode=llm_pb2.TOOL_CHOICE_MODE_NONE)
    asked = request("Say hello.", tools=TOOLS, tool_choice=choice, sampling=greedy(20))
    answer = await gather(stub.Chat(asked, timeout=CALL_S))
    assert answer.only.content
    assert not answer.only.calls


async def test_calls_and_their_results_are_part_of_the_prompt(stub: Any) -> None:
    def text(role: llm_pb2.Role.ValueType, content: str, **more: Any) -> llm_pb2.Message:
        return llm_pb2.Message(role=role, content=[llm_pb2.ContentPart(text=content)], **more)

    call = llm_pb2.ToolCall(id="c-1", name="get_weather", arguments='{"city": "Paris"}')
    messages = [
        text(llm_pb2.ROLE_USER, "What is the weather in Paris, in one word?"),
        llm_pb2.Message(role=llm_pb2.ROLE_ASSISTANT, tool_calls=[call]),
        text(llm_pb2.ROLE_TOOL, "It is snowing in Paris.", tool_call_id="c-1"),
    ]
    asked = llm_pb2.ChatRequest(messages=messages, tools=TOOLS, sampling=greedy(2))
    counts = []
    for said in (messages, messages[:1]):
        conversation = llm_pb2.Conversation(messages=said, tools=TOOLS)
        told = await stub.Tokenize(
            llm_pb2.TokenizeRequest(conversation=conversation), timeout=CALL_S
        )
        counts.append(len(told.token_ids))
    answer = await gather(stub.Chat(asked, timeout=CALL_S))
    assert answer.usage.prompt_tokens == counts[0] > counts[1] + 30


async def test_a_stop_ends_an_answer_and_is_no_part_of_it(stub: Any) -> None:
    sampling = greedy(60, stop=["4"])
    asked = request("Count from 1 to 9, with commas between.", sampling=sampling)
    answer = await gather(stub.Chat(asked, timeout=CALL_S))
    assert "3" in answer.only.content
    assert "4" not in answer.only.content
    assert answer.only.reason == "stop"


async def test_a_seed_repeats_an_answer(stub: Any) -> None:
    def asked(seed: int) -> llm_pb2.ChatRequest:
        sampling = llm_pb2.Sampling(temperature=1.5, seed=seed, max_tokens=12)
        return request("Name an animal.", sampling=sampling)

    first, second, other = [
        (await gather(stub.Chat(asked(seed), timeout=CALL_S))).only.content for seed in (7, 7, 8)
    ]
    assert first == second != other


async def test_choices_differ_and_each_ends(stub: Any) -> None:
    sampling = llm_pb2.Sampling(temperature=1.5, seed=1, n=3, max_tokens=8, logprobs=0)
    answer = await gather(stub.Chat(request("Name an animal.", sampling=sampling), timeout=CALL_S))
    assert sorted(answer.choices) == [0, 1, 2]
    assert all(choice.reason for choice in answer.choices.values())
    assert len({choice.content for choice in answer.choices.values()}) > 1
    tokens = sum(len(choice.logprobs) for choice in answer.choices.values())
    assert answer.usage.completion_tokens == tokens


async def test_logprobs_tell_every_byte_of_the_content(stub: Any) -> None:
    form = llm_pb2.StructuredOutput(
        choice=llm_pb2.Choices(texts=["caf\u00e9 \U0001f98a", "\u732b\u9f2b"])
    )
    asked = request("Say it.", sampling=greedy(20, logprobs=3), structured_output=form)
    choice = (await gather(stub.Chat(asked, timeout=CALL_S))).only
    told = b"".join(each.token.raw for each in choice.logprobs)
    assert told.removesuffix(b"<|im_end|>").decode() == choice.content
    for each in choice.logprobs:
        assert each.token.logprob <= 0
        assert len(each.top) == 3
        assert each.top[0].logprob >= each.top[1].logprob >= each.top[2].logprob


async def test_what_the_context_has_no_room_for_is_refused(
    stub: Any, model: llm_pb2.GetModelResponse
) -> None:
    context = model.max_context_tokens
    error = await refused(stub.Chat(request("a", sampling=greedy(context)), timeout=CALL_S))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == (
        f"sampling.max_tokens is {context}; the prompt has 30 tokens of the {context} of the "
        f"context, so send {context - 30} at most"
    )


async def test_a_prompt_that_never_fits_is_refused_with_the_numbers(
    stub: Any, model: llm_pb2.GetModelResponse
) -> None:
    context = model.max_context_tokens
    error = await refused(stub.Chat(request("word " * context), timeout=CALL_S))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == (
        f"messages has {context + 30} tokens and the context has {context}; send less"
    )


async def test_an_id_that_no_token_has_is_refused(stub: Any) -> None:
    asked = llm_pb2.CompleteRequest(token_ids=llm_pb2.TokenIds(ids=[1, 999_999]))
    error = await refused(stub.Complete(asked, timeout=CALL_S))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "999999" in (error.details() or "")


def test_the_model_tells_what_it_is(model: llm_pb2.GetModelResponse) -> None:
    assert (model.engine, model.precision, model.max_choices) == ("vllm", "bfloat16", 8)
    # As much as the cache has room for, which is less than the model was trained for.
    assert 4096 < model.max_context_tokens < 8192
    assert model.tool_format == ""  # it does not keep to its family's
    assert model.reasoning_format == "think"


async def test_a_thought_is_told_from_the_answer(stub: Any) -> None:
    form = llm_pb2.StructuredOutput(regex="<think>\n[a-z ]{5,30}\n</think>\n\n[A-Z][a-z]{2,9}\\.")
    asked = request("Capital of France?", sampling=greedy(60), structured_output=form)
    choice = (await gather(stub.Chat(asked, timeout=CALL_S))).only
    assert re.fullmatch("[a-z][a-z ]{1,28}[a-z]", choice.reasoning)
    assert re.fullmatch(r"[A-Z][a-z]{2,9}\.", choice.content)
    assert choice.reason == "stop"
