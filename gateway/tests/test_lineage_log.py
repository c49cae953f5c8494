"""What the gateway remembers of its answers."""

import asyncio
import secrets
from collections.abc import Sequence

import httpx

from mesh.common.v1 import common_pb2
from mesh_gateway.lineage_log import LineageLog
from meshkit.errors import Unavailable
from meshkit.lineage import Lineage
from meshkit.lineage_store import Answer, LineageStore
from processes import Mesh, until

CLASSIFY = "/v1/classify"
MESSAGE = common_pb2.Lineage(model="classifier", version="v1", variant="default", run="r1")


class Store:
    """A store that may be stuck, or gone."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.free = asyncio.Event()
        self.gone = False
        self.kept: list[str] = []

    async def write(self, answers: Sequence[tuple[str, Lineage]]) -> None:
        self.asked.set()
        await self.free.wait()
        if self.gone:
            raise Unavailable("gone")
        self.kept += [request_id for request_id, _ in answers]


def found(mesh: Mesh, request_id: str) -> list[Answer]:
    async def find() -> list[Answer]:
        async with LineageStore(mesh.redis.url) as store:
            return await store.find(request_id)

    return asyncio.run(find())


def test_an_answer_is_remembered_with_its_lineage(mesh: Mesh, client: httpx.Client) -> None:
    request_id = secrets.token_hex(8)
    response = client.post(CLASSIFY, json={"texts": ["a"]}, headers={"x-request-id": request_id})
    until(lambda: found(mesh, request_id) != [], "the record")
    (answer,) = found(mesh, request_id)
    assert answer.lineage.version == response.json()["lineage"]["version"] == "stand-in-1"
    assert answer.lineage.deployment == "test"


def test_a_request_that_is_refused_is_not(mesh: Mesh, client: httpx.Client) -> None:
    refused, answered = secrets.token_hex(8), secrets.token_hex(8)
    client.post(CLASSIFY, json={"texts": []}, headers={"x-request-id": refused})
    client.post(CLASSIFY, json={"texts": ["a"]}, headers={"x-request-id": answered})
    until(lambda: found(mesh, answered) != [], "the record of the other")
    assert found(mesh, refused) == []


def test_answers_come_while_redis_is_gone(own_mesh: Mesh) -> None:
    with own_mesh.client() as client:
        assert client.post(CLASSIFY, json={"texts": ["a"]}).status_code == 200
        own_mesh.redis.kill()
        for _ in range(3):
            assert client.post(CLASSIFY, json={"texts": ["a"]}).status_code == 200


async def test_a_stuck_store_delays_nobody_and_what_does_not_fit_is_dropped() -> None:
    store = Store()
    log = LineageLog(store.write, 10)
    running = asyncio.create_task(log.run())
    log.add("0", MESSAGE)
    await store.asked.wait()
    for number in range(1, 15):
        log.add(str(number), MESSAGE)
    store.free.set()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert store.kept == [str(number) for number in range(11)]


async def test_what_could_not_be_written_is_written_later() -> None:
    store = Store()
    store.free.set()
    store.gone = True
    log = LineageLog(store.write, 10)
    running = asyncio.create_task(log.run())
    log.add("0", MESSAGE)
    await store.asked.wait()
    log.add("1", MESSAGE)
    store.gone = False
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert store.kept == ["0", "1"]
