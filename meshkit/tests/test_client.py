"""What a client does when replicas fail: another one, the breaker, or the caller's own hands."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Set
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from conftest import CLASSIFY, Replica, StartReplica, labels, request, until
from mesh.classifier.v1 import classifier_pb2_grpc
from meshkit import context, deadline
from meshkit.breaker import State
from meshkit.client import Client
from meshkit.context import RequestContext
from meshkit.deadline import Deadline
from meshkit.errors import DeadlineExceeded, Internal, MeshError, Unavailable
from relay import Relay

LIMIT = 4 * 2**20


@asynccontextmanager
async def client_of(*addresses: str, repeatable: Set[str] = frozenset()) -> AsyncIterator[Client]:
    target = ",".join(addresses)
    async with Client("classifier", target, max_message_bytes=LIMIT, repeatable=repeatable) as made:
        await until(lambda: sum(each.serving for each in made.endpoints.all) == len(addresses))
        yield made


@pytest.fixture
async def relays(start_replica: StartReplica) -> AsyncIterator[list[tuple[Relay, Replica]]]:
    """Two replicas, each behind a relay."""
    async with AsyncExitStack() as stack:
        made = []
        for name in ("a", "b"):
            replica = await start_replica(name)
            made.append((await stack.enter_async_context(Relay(replica.port)), replica))
        yield made


async def ask(client: Client, text: str = "who", timeout_s: float = 10) -> str:
    stub = client.stub(classifier_pb2_grpc.ClassifierServiceStub)
    with deadline.scope(Deadline.after(timeout_s)):
        return labels(await stub.Classify(request(text)))[0]


async def in_flight_at(
    client: Client, relays: list[tuple[Relay, Replica]], count: int
) -> list[asyncio.Task[str]]:
    tasks = [asyncio.create_task(ask(client, "wait")) for _ in range(count)]
    await until(lambda: sum(each.outstanding for each in client.endpoints.all) == count)
    for _, replica in relays:
        for _ in range(next(e.outstanding for e in client.endpoints.all)):
            if replica.echo.begun.locked():
                break
            await replica.echo.begun.acquire()
    return tasks


class TestLostConnections:
    async def test_a_repeatable_call_goes_to_another_replica(
        self, relays: list[tuple[Relay, Replica]]
    ) -> None:
        addresses = [relay.address for relay, _ in relays]
        async with client_of(*addresses, repeatable={CLASSIFY}) as client:
            task = asyncio.create_task(ask(client, "wait"))
            (relay, _), (_, other) = await self._where_it_is(relays)
            other.echo.proceed.set()
            await relay.cut()
            assert await task == "wait"
            assert other.echo.answered == 1

    async def test_another_call_is_the_callers_to_repeat(
        self, relays: list[tuple[Relay, Replica]]
    ) -> None:
        async with client_of(*(relay.address for relay, _ in relays)) as client:
            task = asyncio.create_task(ask(client, "wait"))
            (relay, _), (_, other) = await self._where_it_is(relays)
            other.echo.proceed.set()
            await relay.cut()
            with pytest.raises(Unavailable) as lost:
                await task
            assert lost.value.reason == "CONNECTION_LOST"
            assert other.echo.answered == 0

    async def test_only_where_the_request_entered_the_mesh_is_it_repeated(
        self, relays: list[tuple[Relay, Replica]]
    ) -> None:
        addresses = [relay.address for relay, _ in relays]
        async with client_of(*addresses, repeatable={CLASSIFY}) as client:
            with context.scope(RequestContext("r-1", hops=1)):
                task = asyncio.create_task(ask(client, "wait"))
            (relay, _), _ = await self._where_it_is(relays)
            await relay.cut()
            with pytest.raises(Unavailable):
                await task

    async def test_an_outage_does_not_double_the_calls(
        self, relays: list[tuple[Relay, Replica]]
    ) -> None:
        addresses = [relay.address for relay, _ in relays]
        async with client_of(*addresses, repeatable={CLASSIFY}) as client:
            tasks = [asyncio.create_task(ask(client, "wait")) for _ in range(60)]
            counts = [0, 0]

            def begun() -> bool:
                for index, (_, replica) in enumerate(relays):
                    while replica.echo.begun._value:
                        replica.echo.begun._value -= 1
                        counts[index] += 1
                return sum(counts) == 60

            await until(begun)
            for _, replica in relays:
                replica.echo.proceed.set()
            await relays[0][0].cut()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            lost = sum(isinstance(result, Unavailable) for result in results)
            # What had begun there is lost, but for the budget of ten repetitions.
            assert lost == max(0, counts[0] - 10)

    async def _where_it_is(
        self, relays: list[tuple[Relay, Replica]]
    ) -> list[tuple[Relay, Replica]]:
        """The relays in the order of where the one call is."""
        waiting = [asyncio.create_task(replica.echo.begun.acquire()) for _, replica in relays]
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=10)
        for task in pending:
            task.cancel()
        place = waiting.index(done.pop())
        return [relays[place], relays[1 - place]]


class TestBreaker:
    async def test_a_replica_that_loses_every_call_leaves_the_rotation(
        self, relays: list[tuple[Relay, Replica]]
    ) -> None:
        async with client_of(*(relay.address for relay, _ in relays)) as client:
            (relay, _), _ = relays
            bad = next(each for each in client.endpoints.all if each.address == relay.address)
            for _ in range(200):
                if not bad.breaker.passes:
                    break
                task = asyncio.create_task(ask(client, "wait", timeout_s=5))
                await asyncio.sleep(0)
                await until(lambda: sum(each.outstanding for each in client.endpoints.all) == 1)
                if bad.outstanding:
                    relay.break_off()
                    with pytest.raises(MeshError):
                        await task
                    await until(lambda: bad.serving)
                else:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
            assert bad.breaker.state is State.OPEN
            assert not bad.usable
            answers = Counter([await ask(client) for _ in range(20)])
            assert answers == {"b": 20}

    async def test_a_probe_brings_it_back(self, relays: list[tuple[Relay, Replica]]) -> None:
        async with client_of(*(relay.address for relay, _ in relays)) as client:
            (relay, _), _ = relays
            bad = next(each for each in client.endpoints.all if each.address == relay.address)
            bad.breaker._open()
            await until(lambda: bad.breaker.state is State.HALF_OPEN)

            async def back() -> bool:
                return await ask(client) == "a"

            async with asyncio.timeout(10):
                while not await back():
                    pass
            assert bad.breaker.state is State.CLOSED

    async def test_a_replica_that_does_not_answer_in_a_fair_time_leaves_the_rotation(
        self, start_replica: StartReplica
    ) -> None:
        replica = await start_replica()
        async with client_of(replica.address) as client:
            (endpoint,) = client.endpoints.all
            calls = [ask(client, "wait", timeout_s=1.1) for _ in range(6)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(result, DeadlineExceeded) for result in results)
            assert endpoint.breaker.state is State.OPEN
            with pytest.raises(Unavailable, match="its circuit breakers are open"):
                await ask(client)

    async def test_a_hasty_caller_says_nothing_of_a_replica(
        self, start_replica: StartReplica
    ) -> None:
        replica = await start_replica()
        async with client_of(replica.address) as client:
            (endpoint,) = client.endpoints.all
            calls = [ask(client, "wait", timeout_s=0.05) for _ in range(20)]
            await asyncio.gather(*calls, return_exceptions=True)
            assert endpoint.breaker.state is State.CLOSED
            assert await ask(client) == "echo"

    async def test_a_poisonous_request_takes_no_replica_out(
        self, start_replica: StartReplica
    ) -> None:
        replicas = [await start_replica(name) for name in ("a", "b")]
        async with client_of(*(replica.address for replica in replicas)) as client:
            for _ in range(60):
                with pytest.raises(Internal):
                    await ask(client, "fault")
            assert all(each.breaker.state is State.CLOSED for each in client.endpoints.all)

    async def test_the_states_are_a_metric(self, start_replica: StartReplica) -> None:
        replica = await start_replica()
        async with client_of(replica.address) as client:
            (endpoint,) = client.endpoints.all

            def states() -> dict[str, float]:
                found = client.endpoints.breaker_states()
                return {labels["mesh.breaker.state"]: value for value, labels in found}

            assert states() == {"closed": 1, "open": 0, "half_open": 0}
            endpoint.breaker._open()
            assert states() == {"closed": 0, "open": 1, "half_open": 0}
