"""A thousand callers that leave at random moments leave nothing behind."""

import asyncio
from collections.abc import Iterator

import pytest
from redis import Redis

from chaos_leavers import Leavers
from chaos_mesh import slots_held
from counter_mesh import CounterGateway, CounterMesh
from processes import until
from watched_mesh import Held, WatchedGateway

pytestmark = pytest.mark.full

CALLERS = 1000
SEEDS = (3, 4)


class LeftGateway(WatchedGateway, CounterGateway):
    """The gateway with the counter behind it, watched."""

    module = "chaos_gateway"


class LeftMesh(CounterMesh):
    """A mesh that shows what is left of callers that left."""

    gateway: LeftGateway
    gateway_type = LeftGateway

    def make_rich_key(self, **wanted: int) -> str:
        """A key for both services."""
        key = self.make_key(**wanted)
        self.set_scopes(key, "classifier counter")
        return key.text

    def held(self) -> Held:
        """What the gateway holds but for its connections to Redis, of which it keeps a pool."""
        with Redis.from_url(self.redis.url) as client:
            pooled = int(client.info("clients")["connected_clients"])
        held = self.gateway.held()
        return Held(held.descriptors - pooled, held.tasks)

    def quiet(self) -> bool:
        """Whether nothing is in flight: in the gateway, the services, and Redis' slots."""
        counts = self.service.counts()
        ended = counts.get("answered", 0) + counts.get("cancelled", 0)
        at_rest = ended == counts.get("begun", 0) and self.at_rest()
        return at_rest and slots_held(self.redis.url) == 0


@pytest.fixture
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeftMesh]:
    with LeftMesh(tmp_path_factory.mktemp("left")) as started:
        yield started


async def test_callers_that_leave_leave_nothing(mesh: LeftMesh) -> None:
    few = mesh.make_rich_key(max_concurrent=4)
    keys = [mesh.make_rich_key(), mesh.make_rich_key(max_concurrent=100), few]
    await Leavers(mesh, keys, SEEDS[0]).come_and_go(CALLERS // 10)
    await asyncio.to_thread(until, mesh.quiet, "rest before")
    before = mesh.held()
    await Leavers(mesh, keys, SEEDS[1]).come_and_go(CALLERS)
    await asyncio.to_thread(until, mesh.quiet, "rest after")
    await asyncio.to_thread(
        until, lambda: mesh.held().within(before), "the release of what the gateway held"
    )
    # Everything that the key with the fewest slots may have, it may have again.
    with mesh.client() as client:
        answers = [
            client.post("/v1/classify", json={"texts": ["a"]}, headers={"x-api-key": few})
            for _ in range(8)
        ]
    assert {each.status_code for each in answers} == {200}
    # That callers leave is no fault of anybody's.
    assert "Traceback" not in mesh.gateway.log
    assert '"level": "ERROR"' not in mesh.gateway.log
