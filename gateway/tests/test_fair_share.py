"""One caller at ten times its limit takes nothing of another, of the service or of places."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest

from hostile_grpc import CLASSIFY as CLASSIFY_CALL
from meshkit.keys import ApiKey
from meshkit.rates import Rate
from processes import PATIENCE_S, Mesh, until

CLASSIFY = "/v1/classify"
BODY = {"texts": ["a"]}
LIMIT = 5
# One text "a".
PAYLOAD = b"\x0a\x01a"


@pytest.fixture
def noisy(mesh: Mesh) -> ApiKey:
    return mesh.make_key(tenant="noisy", rate=Rate(LIMIT, "h", LIMIT))


@pytest.fixture
def calm(mesh: Mesh) -> Iterator[httpx.Client]:
    key = mesh.make_key(tenant="calm", rate=Rate(2, "h", 2))
    with mesh.client(key) as client:
        yield client


def begun(mesh: Mesh) -> int:
    """How many calls the service has had."""
    return mesh.service.counts().get("begun", 0)


def check_unharmed(calm: httpx.Client) -> None:
    """The calm caller has all that it may have, and not one more."""
    statuses = [calm.post(CLASSIFY, json=BODY).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


def test_over_http(mesh: Mesh, noisy: ApiKey, calm: httpx.Client) -> None:
    before = begun(mesh)
    with mesh.client(noisy) as client:
        answers = [client.post(CLASSIFY, json=BODY) for _ in range(10 * LIMIT)]
    assert Counter(each.status_code for each in answers) == {200: LIMIT, 429: 9 * LIMIT}
    assert begun(mesh) == before + LIMIT
    until(mesh.gateway.at_rest, "the rest")
    check_unharmed(calm)


async def test_over_grpc(mesh: Mesh, noisy: ApiKey, calm: httpx.Client) -> None:
    before = begun(mesh)
    metadata = (("x-api-key", noisy.text),)
    async with grpc.aio.insecure_channel(mesh.gateway.address) as channel:
        method: Any = channel.unary_unary(CLASSIFY_CALL)
        calls = [method(PAYLOAD, timeout=PATIENCE_S, metadata=metadata) for _ in range(10 * LIMIT)]
        codes = Counter([(await each.code()).name for each in calls])
    assert codes == {"OK": LIMIT, "RESOURCE_EXHAUSTED": 9 * LIMIT}
    assert begun(mesh) == before + LIMIT
    await asyncio.to_thread(until, mesh.gateway.at_rest, "the rest")
    check_unharmed(calm)
