"""An upstream as an engine: what it is asked, what it answers, and how it fails."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

import upstream as standing_in
from mesh_llm.answers import Delta, FinishReason, Progress, ToolCallDelta, Usage
from mesh_llm.engines.remote import RemoteEngine
from mesh_llm.requests import (
    Chat,
    Completion,
    JsonSchema,
    Message,
    NamedTool,
    Regex,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolMode,
)
from meshkit import deadline
from meshkit.deadline import Deadline
from meshkit.errors import (
    Internal,
    InvalidArgument,
    MeshError,
    Overloaded,
    Unavailable,
    Unimplemented,
)
from support import ask, remote, until, user
from upstream import STREAM_HEAD, Exchange, Upstream, answer, content, refuse, usage

HELLO = (content("Hel"), content("lo"), content("", reason="stop"), usage(7, 2))


@pytest.fixture
async def engine(upstream: Upstream) -> AsyncIterator[RemoteEngine]:
    async with remote(upstream.url) as engine:
        yield engine


async def collect(steps: AsyncGenerator[Progress, None]) -> list[Progress]:
    async with aclosing(steps) as going:
        return [step async for step in going]


def text_of(steps: list[Progress]) -> str:
    return "".join(step.delta.content for step in steps if step.delta)


async def failure(engine: RemoteEngine, chat: Chat | None = None) -> MeshError:
    with pytest.raises(MeshError) as caught:
        await collect(engine.chat(chat or ask()))
    return caught.value


async def test_an_answer_comes_in_deltas_with_the_usage_at_the_end(
    upstream: Upstream, engine: RemoteEngine
) -> None:
    upstream.will(answer(HELLO))
    steps = await collect(engine.chat(ask()))
    assert steps == [
        Progress(Usage(0, 1), Delta(0, "Hel")),
        Progress(Usage(0, 2), Delta(0, "lo")),
        Progress(Usage(0, 2), Delta(0, finish_reason=FinishReason.STOP)),
        Progress(Usage(7, 2)),
    ]


async def test_everything_that_is_asked_reaches_the_upstream(
    upstream: Upstream, engine: RemoteEngine
) -> None:
    upstream.will(answer(HELLO))
    sampling = Sampling(
        max_tokens=5,
        temperature=0.5,
        top_p=0.9,
        stop=("x",),
        seed=3,
        logprobs=2,
        logit_bias={7: -1.0},
    )
    call = ToolCall("call-1", "search", '{"q": 1}')
    chat = Chat(
        messages=[
            Message(Role.SYSTEM, [Text("Be "), Text("brief.")]),
            Message(Role.USER, [Text("Hi.")], name="ann"),
            Message(Role.ASSISTANT, tool_calls=[call]),
            Message(Role.TOOL, [Text("found")], tool_call_id="call-1"),
        ],
        sampling=sampling,
        tools=[Tool("search", "Finds.", '{"type": "object"}'), Tool("stop")],
        tool_choice=NamedTool("search"),
        parallel_tool_calls=False,
        priority=-1,
    )
    await collect(engine.chat(chat))
    request = upstream.requests[0]
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer a-key"
    nothing = {"type": "object", "properties": {}, "additionalProperties": False}
    function = {"name": "search", "arguments": '{"q": 1}'}
    assert request.body == {
        "model": "their-model",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi.", "name": "ann"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "call-1", "type": "function", "function": function}],
            },
            {"role": "tool", "content": "found", "tool_call_id": "call-1"},
        ],
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["x"],
        "seed": 3,
        "logprobs": True,
        "top_logprobs": 2,
        "logit_bias": {"7": -1.0},
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "search",
                    "description": "Finds.",
                    "parameters": {"type": "object"},
                },
            },
            {
                "type": "function",
                "function": {"name": "stop", "description": "", "parameters": nothing},
            },
        ],
        "tool_choice": {"type": "function", "function": {"name": "search"}},
        "parallel_tool_calls": False,
        "priority": -1,
    }


async def test_a_schema_is_asked_for_as_a_response_format(
    upstream: Upstream, engine: RemoteEngine
) -> None:
    upstream.will(answer(HELLO))
    await collect(engine.chat(Chat([user("Hi.")], form=JsonSchema('{"type": "object"}'))))
    described = {"name": "answer", "strict": True, "schema": {"type": "object"}}
    assert upstream.requests[0].body["response_format"] == {
        "type": "json_schema",
        "json_schema": described,
    }


async def test_a_form_that_the_protocol_lacks_is_refused(engine: RemoteEngine) -> None:
    error = await failure(engine, Chat([user("Hi.")], form=Regex("a+")))
    assert [each.field for each in error.violations] == ["structured_output.regex"]


async def test_tool_calls_choices_reasoning_and_logprobs_are_read(
    upstream: Upstream, engine: RemoteEngine
) -> None:
    def call(**fields: Any) -> dict[str, Any]:
        return {"choices": [{"index": 1, "delta": {"tool_calls": [fields]}}]}

    token = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    with_logprobs = content("a")
    with_logprobs["choices"][0]["logprobs"] = {"content": [token]}
    upstream.will(
        answer(
            [
                {"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]},
                with_logprobs,
                content("", reason="length"),
                call(index=0, id="c-1", function={"name": "search", "arguments": ""}),
                call(index=0, function={"arguments": '{"q"'}),
                call(index=0, function={"arguments": ": 1}"}),
                content("", choice=1, reason="tool_calls"),
                usage(9, 8, cached=4),
            ]
        )
    )
    steps = await collect(engine.chat(ask(sampling=Sampling(n=2, logprobs=0))))
    deltas = [step.delta for step in steps if step.delta]
    assert deltas[0] == Delta(0, reasoning="hm")
    (logprobs,) = deltas[1].logprobs
    token_read = (logprobs.token.text, logprobs.token.raw, logprobs.token.logprob)
    assert token_read == ("a", b"a", -0.5)
    assert [each for delta in deltas for each in delta.tool_calls] == [
        ToolCallDelta(0, "c-1", "search"),
        ToolCallDelta(0, arguments='{"q"'),
        ToolCallDelta(0, arguments=": 1}"),
    ]
    assert [(each.choice, each.finish_reason) for each in deltas if each.finish_reason] == [
        (0, FinishReason.LENGTH),
        (1, FinishReason.TOOL_CALLS),
    ]
    assert steps[-1].usage == Usage(9, 8, 4)


async def test_a_completion_has_its_own_path(upstream: Upstream, engine: RemoteEngine) -> None:
    logprobs = {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [{"b": -2.0, "a": -1}]}
    chunk = {"choices": [{"index": 0, "text": "a", "finish_reason": "stop", "logprobs": logprobs}]}
    upstream.will(answer([chunk]))
    completion = Completion((1, 2), sampling=Sampling(logprobs=2))
    (step,) = await collect(engine.complete(completion))
    assert step.delta is not None
    assert (step.delta.content, step.delta.finish_reason) == ("a", FinishReason.STOP)
    assert [each.text for each in step.delta.logprobs[0].top] == ["a", "b"]
    request = upstream.requests[0]
    assert (request.path, request.body["prompt"]) == ("/v1/completions", [1, 2])


async def test_an_upstream_without_a_tokenizer_says_so(engine: RemoteEngine) -> None:
    with pytest.raises(Unimplemented):
        await engine.tokenize("a")
    with pytest.raises(Unimplemented):
        await engine.tokenize_chat([user("a")], [])


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_refusal_that_may_pass_is_tried_again_before_anything_came(
    upstream: Upstream, engine: RemoteEngine, status: int
) -> None:
    upstream.will(refuse(status, {"retry-after": "0"}), answer(HELLO))
    assert text_of(await collect(engine.chat(ask()))) == "Hello"
    assert len(upstream.requests) == 2


async def test_tries_are_counted(upstream: Upstream, engine: RemoteEngine) -> None:
    upstream.will(*[refuse(503, {"retry-after": "0"})] * 5)
    error = await failure(engine)
    assert (type(error), error.reason) == (Unavailable, "UPSTREAM_UNAVAILABLE")
    assert len(upstream.requests) == 3


async def test_an_overloaded_upstream_tells_when_to_come_again(
    upstream: Upstream, engine: RemoteEngine
) -> None:
    upstream.will(refuse(429, {"retry-after": "7"}, {"message": "slow down"}))
    error = await failure(engine)
    assert isinstance(error, Overloaded)
    assert (error.reason, error.retry_delay_s) == ("UPSTREAM_OVERLOADED", 7.0)
    assert "slow down" in error.message
    assert len(upstream.requests) == 1  # such a wait is the caller's to choose


async def test_what_the_upstream_finds_wrong_is_told_with_its_field(
    upstream: Upstream, engine: RemoteEngine
) -> None:
    upstream.will(refuse(400, error={"message": "must be small", "param": "top_k"}))
    error = await failure(engine)
    assert isinstance(error, InvalidArgument)
    assert [each.field for each in error.violations] == ["top_k"]


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_wrong_setting_is_no_fault_of_the_caller(
    upstream: Upstream, engine: RemoteEngine, status: int
) -> None:
    upstream.will(refuse(status))
    error = await failure(engine)
    assert (type(error), error.reason) == (Internal, "UPSTREAM_REFUSED")


async def test_an_answer_that_is_cut_off_ends_with_an_error(
    upstream: Upstream, engine: RemoteEngine
) -> None:
    async def cut(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD)
        await exchange.chunk(standing_in.event(content("Hel")))
        exchange.writer.close()

    upstream.will(cut)
    async with aclosing(engine.chat(ask())) as steps:
        assert text_of([await anext(steps)]) == "Hel"
        with pytest.raises(Unavailable) as caught:
            await anext(steps)
    assert caught.value.reason == "UPSTREAM_CUT_OFF"
    assert len(upstream.requests) == 1  # what may have run is not run twice


@pytest.mark.parametrize("done", [True, False])
async def test_an_answer_without_an_end_is_cut_off(
    upstream: Upstream, engine: RemoteEngine, done: bool
) -> None:
    upstream.will(answer([content("Hel")], done=done))
    assert (await failure(engine)).reason == "UPSTREAM_CUT_OFF"


@pytest.mark.parametrize(
    "garbage",
    [
        b"data: {not json\n\n",
        b'data: {"choices": "none"}\n\n',
        b'data: {"choices": [{"index": 5}]}\n\n',
        b"data: \xff\xfe\n\n",
        b"data: []\n\n",
    ],
)
async def test_garbage_is_no_answer(
    upstream: Upstream, engine: RemoteEngine, garbage: bytes
) -> None:
    async def send(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD)
        await exchange.chunk(garbage)
        await exchange.send(b"0\r\n\r\n")

    upstream.will(send)
    assert (await failure(engine)).reason == "UPSTREAM_GARBAGE"


async def test_an_error_within_the_stream_ends_it(upstream: Upstream, engine: RemoteEngine) -> None:
    upstream.will(answer([content("Hel"), {"error": {"message": "out of memory", "code": 500}}]))
    error = await failure(engine)
    assert error.reason == "UPSTREAM_BROKE_OFF"
    assert "out of memory" in error.message


async def silent(exchange: Exchange) -> None:
    await exchange.left()


async def test_an_upstream_that_does_not_begin_is_slow(upstream: Upstream) -> None:
    upstream.will(*[silent] * 3)
    async with remote(upstream.url, first_byte_timeout_s=0.05) as engine:
        assert (await failure(engine)).reason == "UPSTREAM_SLOW"


async def test_an_upstream_that_stops_in_the_middle_is_slow(upstream: Upstream) -> None:
    async def stall(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD)
        await exchange.chunk(standing_in.event(content("Hel")))
        await exchange.left()

    upstream.will(stall)
    async with remote(upstream.url, idle_timeout_s=0.05) as engine:
        assert (await failure(engine)).reason == "UPSTREAM_SLOW"


async def test_an_upstream_that_is_not_there_is_unavailable() -> None:
    async with standing_in.serving() as gone:
        pass
    async with remote(gone.url) as engine:
        assert (await failure(engine)).reason == "UPSTREAM_UNAVAILABLE"


async def test_an_upstream_that_fails_is_left_alone_for_a_while(
    upstream: Upstream, engine: RemoteEngine
) -> None:
    upstream.will(*[refuse(503, {"retry-after": "60"})] * 5)
    for _ in range(5):
        assert engine.ready
        await failure(engine)
    assert not engine.ready
    error = await failure(engine)
    assert error.retry_delay_s is not None
    assert len(upstream.requests) == 5


async def test_a_caller_that_leaves_closes_the_connection(
    upstream: Upstream, engine: RemoteEngine
) -> None:
    left = asyncio.Event()

    async def go_on(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD)
        await exchange.chunk(standing_in.event(content("Hel")))
        await exchange.left()
        left.set()

    upstream.will(go_on)
    async with aclosing(engine.chat(ask())) as steps:
        await anext(steps)
    async with asyncio.timeout(30):
        await left.wait()
    assert engine.ready


async def test_a_caller_that_leaves_before_the_answer_closes_the_connection(
    upstream: Upstream, engine: RemoteEngine
) -> None:
    left = asyncio.Event()

    async def wait(exchange: Exchange) -> None:
        await exchange.left()
        left.set()

    upstream.will(wait)
    asking = asyncio.create_task(collect(engine.chat(ask())))
    await until(lambda: bool(upstream.requests))
    asking.cancel()
    async with asyncio.timeout(30):
        await left.wait()


async def test_a_passed_deadline_is_not_spent_on_another_try(
    upstream: Upstream, engine: RemoteEngine
) -> None:
    upstream.will(refuse(503, {"retry-after": "1"}), answer(HELLO))
    with deadline.scope(Deadline.after(0.5)):
        error = await failure(engine)
    assert error.reason == "UPSTREAM_UNAVAILABLE"
    assert len(upstream.requests) == 1


async def test_tools_may_be_forbidden(upstream: Upstream, engine: RemoteEngine) -> None:
    upstream.will(answer(HELLO))
    chat = Chat([user("Hi.")], tools=[Tool("search")], tool_choice=ToolMode.NONE)
    await collect(engine.chat(chat))
    assert upstream.requests[0].body["tool_choice"] == "none"
