"""The service over gRPC: streams, errors, room, health and metrics."""

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mesh.llm.v1 import llm_pb2
from mesh_llm import model as model_module
from serving import TIMEOUT_S, Serving, details_of, refused, request, said, serve
from support import until
from upstream import STREAM_HEAD, Exchange, Upstream, answer, content, event, refuse, usage

UNKNOWN: Any = 99
HELLO = (content("Hel"), content("lo"), content("", reason="stop"), usage(7, 2))


class Held:
    """Answers that begin and wait."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.left = 0

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD)
        await exchange.chunk(event(content("Hel")))
        gone = asyncio.ensure_future(exchange.left())
        going = asyncio.ensure_future(self.go_on.wait())
        await asyncio.wait([gone, going], return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            self.left += 1
        else:
            await exchange.chunk(event(content("lo", reason="stop")))
            await exchange.send(b"0\r\n\r\n")
        gone.cancel()
        going.cancel()


def in_flight() -> int:
    return sum(each.in_flight for each in tuple(model_module._models))


def metadata(key: str) -> tuple[tuple[str, str], ...]:
    return (("x-mesh-key-id", key),)


async def test_a_chat_streams_deltas_with_lineage_first_and_usage_throughout(
    service: Serving, upstream: Upstream
) -> None:
    upstream.will(answer(HELLO))
    messages = await said(service.stub.Chat(request(), timeout=TIMEOUT_S))
    first = messages[0]
    lineage = first.lineage
    assert (lineage.model, lineage.version, lineage.deployment) == ("llm", "their-model", "test")
    assert [message.HasField("lineage") for message in messages] == [True, False, False, False]
    assert [message.delta.role for message in messages] == [llm_pb2.ROLE_ASSISTANT, 0, 0, 0]
    assert "".join(message.delta.content for message in messages) == "Hello"
    assert messages[2].delta.finish_reason == llm_pb2.FINISH_REASON_STOP
    counts = [message.usage.completion_tokens for message in messages]
    assert counts == [1, 2, 2, 2]
    assert messages[-1].usage.prompt_tokens == 7


async def test_a_completion_streams_text(service: Serving, upstream: Upstream) -> None:
    chunk = {"choices": [{"index": 0, "text": "42", "finish_reason": "length"}]}
    upstream.will(answer([chunk, usage(3, 1)]))
    asked = llm_pb2.CompleteRequest(text="6 * 7 =")
    messages = await said(service.stub.Complete(asked, timeout=TIMEOUT_S))
    assert messages[0].lineage.model == "llm"
    assert messages[0].delta.text == "42"
    assert messages[0].delta.finish_reason == llm_pb2.FINISH_REASON_LENGTH
    assert messages[-1].usage.prompt_tokens == 3


async def test_every_field_of_a_request_reaches_the_engine(
    service: Serving, upstream: Upstream
) -> None:
    upstream.will(answer(HELLO))
    sampling = llm_pb2.Sampling(
        max_tokens=5, temperature=0.0, top_k=3, min_p=0.1, stop=["x"], seed=-1, n=1, min_tokens=2
    )
    sampling.logit_bias[5] = 1.5
    asked = request(
        sampling=sampling,
        tools=[llm_pb2.Tool(name="search", description="Finds.")],
        tool_choice=llm_pb2.ToolChoice(mode=llm_pb2.TOOL_CHOICE_MODE_REQUIRED),
        parallel_tool_calls=False,
    )
    await said(service.stub.Chat(asked, timeout=TIMEOUT_S))
    body = upstream.requests[0].body
    assert (body["max_tokens"], body["temperature"], body["top_k"], body["seed"]) == (5, 0.0, 3, -1)
    assert (body["min_p"], body["stop"], body["min_tokens"]) == (0.1, ["x"], 2)
    assert (body["logit_bias"], body["tool_choice"]) == ({"5": 1.5}, "required")
    assert body["parallel_tool_calls"] is False


async def test_the_model_is_described(service: Serving) -> None:
    model = await service.stub.GetModel(llm_pb2.GetModelRequest(), timeout=TIMEOUT_S)
    assert [(each.name, each.base) for each in model.models] == [("llm", "")]
    assert (model.engine, model.max_choices, model.max_context_tokens) == ("remote", 8, 0)
    assert model.lineage.version == "their-model"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (llm_pb2.ChatRequest(), "messages"),
        (llm_pb2.ChatRequest(messages=[llm_pb2.Message(role=UNKNOWN)]), "messages[0].role"),
        (
            llm_pb2.ChatRequest(
                messages=[
                    llm_pb2.Message(
                        role=llm_pb2.ROLE_USER,
                        content=[llm_pb2.ContentPart(image=llm_pb2.Image(data=b"x"))],
                    )
                ]
            ),
            "messages[0].content[0]",
        ),
        (request(sampling=llm_pb2.Sampling(max_tokens=0)), "sampling.max_tokens"),
        (request(sampling=llm_pb2.Sampling(n=9)), "sampling.n"),
        (request(tool_choice=llm_pb2.ToolChoice(mode=UNKNOWN)), "tool_choice.mode"),
        (
            request(structured_output=llm_pb2.StructuredOutput(json_schema="{")),
            "structured_output.json_schema",
        ),
        (request(text="a" * 1_000_000), "messages"),
    ],
)
async def test_bad_input_is_refused_with_its_field(
    service: Serving, asked: llm_pb2.ChatRequest, field: str
) -> None:
    error = await refused(service.stub.Chat(asked, timeout=TIMEOUT_S))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    (bad,) = [each for each in details_of(error) if isinstance(each, error_details_pb2.BadRequest)]
    assert [violation.field for violation in bad.field_violations] == [field]


async def test_what_is_no_text_is_refused(service: Serving) -> None:
    good = request(text="aaaa").SerializeToString()
    call: Any = service.channel.unary_stream("/mesh.llm.v1.LlmService/Chat")
    error = await refused(call(good.replace(b"aaaa", b"\xff\xfeaa"), timeout=TIMEOUT_S))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_an_unknown_model_is_not_found(service: Serving) -> None:
    error = await refused(service.stub.Chat(request(model="gpt"), timeout=TIMEOUT_S))
    assert error.code() == grpc.StatusCode.NOT_FOUND
    asked = llm_pb2.TokenizeRequest(model="gpt", text="a")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.stub.Tokenize(asked, timeout=TIMEOUT_S)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_an_upstream_has_no_tokens_to_tell(service: Serving) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.stub.Tokenize(llm_pb2.TokenizeRequest(text="a"), timeout=TIMEOUT_S)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_a_prompt_is_needed(service: Serving) -> None:
    error = await refused(service.stub.Complete(llm_pb2.CompleteRequest(), timeout=TIMEOUT_S))
    assert error.details() == "prompt is missing; send text or token_ids"


async def test_what_there_is_no_room_for_is_refused_at_once(
    service: Serving, upstream: Upstream
) -> None:
    held = Held()
    upstream.will(*[held] * 8)
    calls = [service.stub.Chat(request(), timeout=TIMEOUT_S) for _ in range(8)]
    await until(lambda: in_flight() == 8 and len(upstream.requests) == 8)
    # Nothing else of it is looked at, which might take long, and the engine never hears of it.
    explodes = llm_pb2.StructuredOutput(regex="(a{1000}){1000}")
    asked = request(structured_output=explodes)
    error = await refused(service.stub.Chat(asked, timeout=TIMEOUT_S))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    details = {type(each): each for each in details_of(error)}
    assert details[error_details_pb2.ErrorInfo].reason == "OVERLOADED"
    assert details[error_details_pb2.RetryInfo].retry_delay.ToMilliseconds() > 0
    assert len(upstream.requests) == 8
    held.go_on.set()
    for call in calls:
        assert len(await said(call)) == 2
    assert in_flight() == 0


async def test_choices_count_one_by_one(service: Serving, upstream: Upstream) -> None:
    held = Held()
    upstream.will(held)
    sampling = llm_pb2.Sampling(n=5)
    call = service.stub.Chat(request(sampling=sampling), timeout=TIMEOUT_S)
    await until(lambda: in_flight() == 5)
    error = await refused(service.stub.Chat(request(sampling=sampling), timeout=TIMEOUT_S))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    call.cancel()
    await until(lambda: in_flight() == 0)


async def test_one_key_leaves_room_for_others(service: Serving, upstream: Upstream) -> None:
    held = Held()
    upstream.will(*[held] * 8)
    greedy = [
        service.stub.Chat(request(), timeout=TIMEOUT_S, metadata=metadata("greedy"))
        for _ in range(4)
    ]
    await until(lambda: in_flight() == 4)
    other = service.stub.Chat(request(), timeout=TIMEOUT_S, metadata=metadata("other"))
    await until(lambda: in_flight() == 5)
    more = service.stub.Chat(request(), timeout=TIMEOUT_S, metadata=metadata("greedy"))
    error = await refused(more)
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "4 of your requests are in flight" in (error.details() or "")
    held.go_on.set()
    for call in (*greedy, other):
        await said(call)


async def test_callers_that_leave_leave_nothing_behind(
    service: Serving, upstream: Upstream
) -> None:
    held = Held()
    upstream.will(*[held] * 6)
    calls = [service.stub.Chat(request(), timeout=TIMEOUT_S) for _ in range(3)]
    await until(lambda: len(upstream.requests) == 3)
    short = [service.stub.Chat(request(), timeout=0.3) for _ in range(3)]
    for late in short:
        assert (await refused(late)).code() == grpc.StatusCode.DEADLINE_EXCEEDED
    for call in calls:
        call.cancel()
    # On a busy machine a deadline may pass before the upstream is asked.
    await until(lambda: in_flight() == 0 and held.left == len(upstream.requests))


@pytest.mark.parametrize("payload", [b"\x0a\x02\xff\xfe", b"\x12\x06\x12\x04\x0a\x02\xff\xfe"])
async def test_text_that_is_not_utf_8_is_refused(service: Serving, payload: bytes) -> None:
    call: Any = service.channel.unary_stream(
        "/mesh.llm.v1.LlmService/Chat", request_serializer=None, response_deserializer=None
    )
    error = await refused(call(payload, timeout=TIMEOUT_S))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "strings in UTF-8" in (error.details() or "")


async def test_a_call_without_a_deadline_is_refused(service: Serving) -> None:
    error = await refused(service.stub.Chat(request()))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "deadline" in (error.details() or "")


async def test_health_follows_the_engine(service: Serving, upstream: Upstream) -> None:
    stub: Any = health_pb2_grpc.HealthStub(service.channel)
    asked = health_pb2.HealthCheckRequest(service="mesh.llm.v1.LlmService")
    watch = stub.Watch(asked, timeout=TIMEOUT_S)
    serving, not_serving = (
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    )
    assert (await watch.read()).status == serving
    upstream.will(*[refuse(503, {"retry-after": "60"})] * 5)
    for _ in range(5):
        await refused(service.stub.Chat(request(), timeout=TIMEOUT_S))
    assert (await watch.read()).status == not_serving
    # After a while the breaker lets a request through again.
    assert (await watch.read()).status == serving
    watch.cancel()


async def test_an_upstream_down_is_unavailable(upstream: Upstream) -> None:
    upstream.will(refuse(503, {"retry-after": "60"}))
    async with serve(upstream.url) as serving:
        error = await refused(serving.stub.Chat(request(), timeout=TIMEOUT_S))
    assert error.code() == grpc.StatusCode.UNAVAILABLE
