from __future__ import annotations

import asyncio
import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import StartReplica, labels, request, until
from mesh.classifier.v1 import classifier_pb2_grpc
from meshkit import deadline
from meshkit.client import Client
from meshkit.deadline import Deadline
from meshkit.endpoints import Endpoints, _join, _parse
from meshkit.errors import StartError, Unavailable
from ports import free_port

LIMIT = 4 * 2**20


async def who(client: Client) -> str:
    stub = client.stub(classifier_pb2_grpc.ClassifierServiceStub)
    with deadline.scope(Deadline.after(10)):
        return labels(await stub.Classify(request("who")))[0]


async def wait(stub: classifier_pb2_grpc.ClassifierServiceAsyncStub) -> list[str]:
    return labels(await stub.Classify(request("wait")))


async def test_calls_spread_over_the_replicas_that_serve(start_replica: StartReplica) -> None:
    replicas = [await start_replica(name) for name in ("a", "b", "c")]
    target = ",".join(replica.address for replica in replicas)
    async with Client("classifier", target, max_message_bytes=LIMIT) as client:
        await until(lambda: sum(endpoint.serving for endpoint in client.endpoints.all) == 3)
        answers = collections.Counter(await asyncio.gather(*(who(client) for _ in range(300))))
        assert answers.keys() == {"a", "b", "c"}
        # By chance alone each gets 100; the power of two choices only evens that out.
        assert min(answers.values()) > 50
        assert all(endpoint.outstanding == 0 for endpoint in client.endpoints.all)

        await replicas[0].server.leave()
        await until(lambda: sum(endpoint.serving for endpoint in client.endpoints.all) == 2)
        answers = collections.Counter([await who(client) for _ in range(50)])
        assert answers.keys() == {"b", "c"}


async def test_a_call_refused_by_a_leaving_replica_goes_to_another(
    start_replica: StartReplica,
) -> None:
    leaving, staying = await start_replica("leaving"), await start_replica("staying")
    target = f"{leaving.address},{staying.address}"
    async with Client("classifier", target, max_message_bytes=LIMIT) as client:
        await until(lambda: sum(endpoint.serving for endpoint in client.endpoints.all) == 2)
        stub = client.stub(classifier_pb2_grpc.ClassifierServiceStub)
        with deadline.scope(Deadline.after(30)):
            held = [asyncio.create_task(wait(stub)) for _ in range(20)]
            await leaving.echo.begun.acquire()
            stopping = asyncio.create_task(leaving.server.stop(30))
            assert {await who(client) for _ in range(50)} == {"staying"}
            leaving.echo.proceed.set()
            staying.echo.proceed.set()
            assert await asyncio.gather(*held) == [["wait"]] * 20
            await stopping


async def test_the_last_replica_is_asked_while_it_is_leaving(start_replica: StartReplica) -> None:
    last = await start_replica("last")
    async with Client("classifier", last.address, max_message_bytes=LIMIT) as client:
        await until(lambda: client.serving)
        await last.server.leave()
        await until(lambda: not client.serving)
        assert await who(client) == "last"
        await last.server.stop(0)
        await until(lambda: not any(each.leaving for each in client.endpoints.all))
        with pytest.raises(Unavailable, match="no replica of classifier is serving"):
            await who(client)


async def test_no_replica_is_unavailable_and_says_so() -> None:
    target = f"127.0.0.1:{free_port()}"
    async with Client("classifier", target, max_message_bytes=LIMIT) as client:
        assert not client.serving
        with pytest.raises(Unavailable, match="no replica of classifier is serving") as caught:
            await who(client)
        assert caught.value.retry_delay_s == 1.0


async def test_a_name_is_resolved_to_each_of_its_addresses(start_replica: StartReplica) -> None:
    replica = await start_replica("resolved")
    target = f"dns:///localhost:{replica.port}"
    async with Client("classifier", target, max_message_bytes=LIMIT) as client:
        await until(lambda: client.serving)
        assert await who(client) == "resolved"
        assert f"127.0.0.1:{replica.port}" in {e.address for e in client.endpoints.all}


async def test_the_first_call_finds_a_replica_that_is_there(start_replica: StartReplica) -> None:
    replica = await start_replica("there")
    async with Client("classifier", replica.address, max_message_bytes=LIMIT) as client:
        assert await who(client) == "there"


async def test_a_replica_added_later_is_found(start_replica: StartReplica) -> None:
    port = free_port()
    async with Client("classifier", f"127.0.0.1:{port}", max_message_bytes=LIMIT) as client:
        assert not client.serving
        await start_replica("late", port)
        await until(lambda: client.serving)
        assert await who(client) == "late"


@pytest.mark.parametrize("target", ["", "host", "host:", ":1", "host:0", "host:65536", "a:1,,b:2"])
def test_a_target_of_another_form_is_refused(target: str) -> None:
    with pytest.raises(StartError, match="host:port"):
        Endpoints("classifier", target, LIMIT)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str), st.integers(1, 65535))
def test_addresses_are_read_as_they_are_written(host: str, port: int) -> None:
    assert _parse(_join((host, port))) == (host, port)
