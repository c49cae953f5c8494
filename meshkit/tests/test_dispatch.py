import asyncio
import itertools
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import CLASSIFY, Replica, StartReplica, labels, request, until
from mesh.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from mesh.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc
from meshkit import context, deadline
from meshkit.client import Client
from meshkit.context import RequestContext
from meshkit.deadline import Deadline
from meshkit.dispatch import DispatchStream, _Outbox
from meshkit.dispatch_ends import LOT_BYTES, MAX_OUTSTANDING, MAX_PAYLOAD_BYTES
from meshkit.errors import (
    Code,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    MeshError,
    Overloaded,
    PayloadTooLarge,
    Unavailable,
    Unimplemented,
)


async def classify(client: Client, *texts: str, timeout_s: float = 10) -> list[str]:
    stub = client.stub(classifier_pb2_grpc.ClassifierServiceStub)
    with deadline.scope(Deadline.after(timeout_s)):
        return labels(await stub.Classify(request(*texts)))


async def test_many_calls_each_get_their_own_answer(client: Client) -> None:
    answers = await asyncio.gather(*(classify(client, f"text {n}") for n in range(500)))
    assert answers == [[f"text {n}"] for n in range(500)]


async def test_a_slow_call_delays_nobody(client: Client, replica: Replica) -> None:
    slow = asyncio.create_task(classify(client, "wait"))
    await replica.echo.begun.acquire()
    assert await classify(client, "quick") == ["quick"]
    assert not slow.done()
    replica.echo.proceed.set()
    assert await slow == ["wait"]


async def test_a_caller_that_leaves_cancels_its_call_and_no_other(
    client: Client, replica: Replica
) -> None:
    leaving = asyncio.create_task(classify(client, "wait", "leaving"))
    await replica.echo.begun.acquire()
    staying = asyncio.create_task(classify(client, "wait", "staying"))
    await replica.echo.begun.acquire()
    leaving.cancel()
    async with asyncio.timeout(10):
        await replica.echo.cancelled.acquire()
    replica.echo.proceed.set()
    assert await staying == ["wait", "staying"]
    assert replica.echo.cancelled.locked()


async def test_a_deadline_ends_the_call_at_both_ends(client: Client, replica: Replica) -> None:
    with pytest.raises(DeadlineExceeded, match="allow more time"):
        await classify(client, "wait", timeout_s=0.1)
    async with asyncio.timeout(10):
        await replica.echo.cancelled.acquire()


async def test_a_call_without_a_deadline_is_refused(client: Client) -> None:
    with pytest.raises(InvalidArgument, match="needs a deadline"):
        await client.call(CLASSIFY, b"")


async def test_the_deadline_shrinks_on_the_way(client: Client) -> None:
    remaining = float((await classify(client, "time", timeout_s=5))[0])
    assert 0 < remaining < 5


async def test_the_request_is_known_at_the_other_end(client: Client) -> None:
    known = RequestContext(request_id="r-1", key_id="k-1", tenant="M\u00fcller 100%", hops=1)
    with context.scope(known):
        assert await classify(client, "request") == [repr(known._replace(hops=2))]


async def test_a_large_call_carries_any_name_of_a_tenant(client: Client) -> None:
    """It is a gRPC call of its own, whose metadata is ASCII."""
    known = RequestContext(request_id="r-1", tenant="M\u00fcller 100%")
    with context.scope(known):
        said = await classify(client, "request", "x" * MAX_PAYLOAD_BYTES)
    assert said[0] == repr(known._replace(hops=1))


@pytest.mark.parametrize(
    ("text", "error_type", "message", "reason"),
    [
        (
            "invalid",
            InvalidArgument,
            "texts[0] is 'invalid'; send another text",
            "INVALID_ARGUMENT",
        ),
        ("overloaded", Overloaded, "the queue is full", "OVERLOADED"),
    ],
)
async def test_an_error_arrives_as_it_was_raised(
    client: Client, text: str, error_type: type[MeshError], message: str, reason: str
) -> None:
    with pytest.raises(error_type) as caught:
        await classify(client, text)
    assert str(caught.value) == message
    assert caught.value.reason == reason
    retryable = text == "overloaded"
    assert caught.value.retryable is retryable
    assert caught.value.retry_delay_s == (0.25 if retryable else None)


async def test_a_fault_tells_nothing_of_the_implementation(client: Client) -> None:
    with pytest.raises(Internal) as caught:
        await classify(client, "fault")
    assert "secret" not in str(caught.value)


async def test_bytes_that_are_no_request_are_invalid(client: Client) -> None:
    invalid_utf8 = b"\x0a\x02\xff\xfe"
    with deadline.scope(Deadline.after(10)), pytest.raises(InvalidArgument, match="UTF-8"):
        await client.call(CLASSIFY, invalid_utf8)


async def test_an_unknown_method_is_unimplemented(client: Client) -> None:
    with deadline.scope(Deadline.after(10)), pytest.raises(Unimplemented, match="Nonsense"):
        await client.call("mesh.classifier.v1.ClassifierService/Nonsense", b"")


async def test_a_large_request_arrives_too(client: Client) -> None:
    text = "x" * (3 * 2**20)
    assert await classify(client, text) == [text]


async def test_many_large_answers_do_not_outgrow_a_message(client: Client) -> None:
    text = "y" * (200 * 1024)
    answers = await asyncio.gather(*(classify(client, text) for _ in range(100)))
    assert answers == [[text]] * 100


async def refusal(client: Client) -> Unavailable:
    """Calls until a call is refused."""
    while True:
        try:
            await classify(client, "late")
        except Unavailable as error:
            return error


async def test_a_drain_finishes_what_is_in_flight_and_refuses_the_rest(
    client: Client, replica: Replica
) -> None:
    in_flight = asyncio.create_task(classify(client, "wait"))
    await replica.echo.begun.acquire()
    stopping = asyncio.create_task(replica.server.stop(30))
    refused = await refusal(client)
    assert refused.reason in {"REPLICA_DRAINING", "UNAVAILABLE", "NOT_SENT"}
    assert refused.retryable
    assert not stopping.done()
    replica.echo.proceed.set()
    assert await in_flight == ["wait"]
    async with asyncio.timeout(10):
        await stopping


async def test_a_lost_connection_fails_what_was_in_flight(client: Client, replica: Replica) -> None:
    in_flight = asyncio.create_task(classify(client, "wait"))
    await replica.echo.begun.acquire()
    await replica.server.stop(0)
    with pytest.raises(Unavailable) as lost:
        await in_flight
    assert lost.value.reason == "CONNECTION_LOST"


async def test_the_stream_is_opened_again_after_a_restart(
    client: Client, replica: Replica, start_replica: StartReplica
) -> None:
    assert await classify(client, "who") == ["echo"]
    await replica.server.stop(0)
    await until(lambda: not client.serving)
    await start_replica("reborn", replica.port)
    await until(lambda: client.serving)
    assert await classify(client, "who") == ["reborn"]


async def test_what_a_caller_has_outstanding_is_bounded(replica: Replica) -> None:
    async with grpc.aio.insecure_channel(replica.address) as channel:
        stream = DispatchStream(channel, 4 * 1024 * 1024)
        payload = request("wait").SerializeToString()
        calls = [
            asyncio.create_task(stream.call(CLASSIFY, payload, {}, Deadline.after(30)))
            for _ in range(MAX_OUTSTANDING)
        ]
        for _ in calls:
            await replica.echo.begun.acquire()
        with pytest.raises(Overloaded, match=str(MAX_OUTSTANDING)):
            await stream.call(CLASSIFY, payload, {}, Deadline.after(30))
        for task in calls:
            task.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await stream.close()


async def test_what_a_replica_has_in_flight_is_bounded_over_its_streams(
    start_replica: StartReplica,
) -> None:
    replica = await start_replica(max_concurrent_calls=5)
    payload = request("wait").SerializeToString()

    def calls(count: int) -> dispatch_pb2.DispatchRequest:
        call = {"method": CLASSIFY, "timeout_us": 30_000_000, "payload": payload}
        return dispatch_pb2.DispatchRequest(
            calls=[dispatch_pb2.Call(id=number, **call) for number in range(count)]  # type: ignore[arg-type]  # one dict of three types
        )

    async with grpc.aio.insecure_channel(replica.address) as channel:
        stub: Any = dispatch_pb2_grpc.DispatchServiceStub(channel)
        first, second = stub.Dispatch(), stub.Dispatch()
        await first.write(calls(3))
        for _ in range(3):
            await replica.echo.begun.acquire()
        await second.write(calls(4))
        refused = (await second.read()).replies
        assert [reply.id for reply in refused] == [2, 3]
        assert {reply.code for reply in refused} == {Code.RESOURCE_EXHAUSTED}
        first.cancel()
        second.cancel()


async def test_a_call_that_was_not_written_yet_is_never_sent(replica: Replica) -> None:
    async with grpc.aio.insecure_channel(replica.address) as channel:
        stream = DispatchStream(channel, 4 * 1024 * 1024)
        payload = request("wait").SerializeToString()
        leaving = asyncio.create_task(stream.call(CLASSIFY, payload, {}, Deadline.after(30)))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        quick = request("quick").SerializeToString()
        answer = await stream.call(CLASSIFY, quick, {}, Deadline.after(30))
        assert labels(classifier_pb2.ClassifyResponse.FromString(answer)) == ["quick"]
        assert replica.echo.answered == 1
        await replica.echo.begun.acquire()
        assert replica.echo.begun.locked()
        await stream.close()


MOST_BYTES = 5 * LOT_BYTES // 4


@given(st.lists(st.integers(0, 3 * LOT_BYTES // 2), max_size=12))
def test_lots_keep_order_and_close_once_a_message_is_full(sizes: list[int]) -> None:
    outbox = _Outbox[dispatch_pb2.Call](MOST_BYTES)
    for number, size in enumerate(sizes):
        outbox.put(number, dispatch_pb2.Call(id=number, payload=bytes(size)))
    lots = []
    while lot := outbox.take():
        lots.append(lot)
    assert [call.id for lot in lots for call in lot] == list(range(len(sizes)))
    for lot in lots:
        assert sum(call.ByteSize() for call in lot[:-1]) < LOT_BYTES
        assert len(lot) == 1 or sum(call.ByteSize() for call in lot) <= MOST_BYTES
    for lot, following in itertools.pairwise(lots):
        size = sum(call.ByteSize() for call in lot)
        assert size >= LOT_BYTES or size + following[0].ByteSize() > MOST_BYTES


async def test_an_answer_that_is_too_large_is_refused_and_harms_no_other(
    client: Client, replica: Replica
) -> None:
    other = asyncio.create_task(classify(client, "wait"))
    await replica.echo.begun.acquire()
    with pytest.raises(PayloadTooLarge, match=r"the response has 1000\d+ bytes and a service may"):
        await classify(client, "too much")
    replica.echo.proceed.set()
    assert await other == ["wait"]


async def test_messages_keep_to_a_small_limit_however_many_calls_wait(
    start_replica: StartReplica,
) -> None:
    small = 64 * 1024
    replica = await start_replica(max_message_bytes=small)
    async with Client("echo", replica.address, max_message_bytes=small) as client:
        await until(lambda: client.serving)
        texts = ["a" * 7000] * 8
        answers = await asyncio.gather(*(classify(client, *texts) for _ in range(100)))
    assert answers == [texts] * 100
