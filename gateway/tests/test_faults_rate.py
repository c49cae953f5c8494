"""A limit that two gateways keep together, under far more requests than it lets through."""

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from meshkit.rates import Rate
from processes import PATIENCE_S, Gateway, Mesh, until

pytestmark = pytest.mark.full

RATE: Final = Rate(50, "s", 25)
OFFERED: Final = 10 * 50
"""Requests a second that callers send, of both gateways together."""
LOAD_S: Final = 5.0
CALLERS: Final = 20
SHARE: Final = 0.95
BODY: Final = json.dumps({"texts": ["a"]}).encode()


class Outcome(NamedTuple):
    """A request, by the test's own clock."""

    sent_s: float
    answered_s: float
    status: int
    retry_after: str


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Mesh, Gateway]]:
    """A mesh, and one more gateway before the same Redis."""
    with Mesh(tmp_path_factory.mktemp("rate")) as mesh:
        second = Gateway(
            tmp_path_factory.mktemp("second"),
            redis_url=mesh.redis.url,
            target=f"127.0.0.1:{mesh.service.port}",
            hashing_key=Path(mesh.gateway.environment["MESH_HASHING_KEY_PATH"]),
        )
        try:
            second.start()
            until(lambda: second.backend("classifier") == "ready", "the service")
            yield mesh, second
        finally:
            second.kill()


async def test_no_more_than_the_limit_passes_and_hardly_less(
    gateways: tuple[Mesh, Gateway],
) -> None:
    mesh, second = gateways
    key = mesh.make_key(rate=RATE).text
    ports = (mesh.gateway.port, second.port)
    async with asyncio.timeout(PATIENCE_S):
        begin_s = time.monotonic()
        told = await asyncio.gather(
            *(_ask_on(ports[each % 2], key, begin_s, each) for each in range(CALLERS))
        )
    outcomes = sorted(itertools.chain.from_iterable(told))
    assert len(outcomes) == OFFERED * LOAD_S
    passed = [each for each in outcomes if each.status == 200]
    refused = [each for each in outcomes if each.status == 429]
    assert len(passed) + len(refused) == len(outcomes)
    assert all(int(each.retry_after) >= 1 for each in refused)
    # What Redis decided lies between the sending and the answer, so the time between the first
    # and the last decision is no longer than the first of these and no shorter than the second.
    longest_s = max(each.answered_s for each in passed) - passed[0].sent_s
    shortest_s = outcomes[-1].sent_s - min(each.answered_s for each in outcomes)
    assert len(passed) <= RATE.burst + 50 * longest_s
    assert len(passed) >= SHARE * (RATE.burst + 50 * shortest_s)


async def _ask_on(port: int, key: str, begin_s: float, number: int) -> list[Outcome]:
    """Asks at its own times, however long the answers take."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = (
        f"POST /v1/classify HTTP/1.1\r\nhost: mesh\r\nx-api-key: {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
    ).encode() + BODY
    outcomes = []
    for turn in range(int(OFFERED * LOAD_S) // CALLERS):
        due_s = begin_s + (turn * CALLERS + number) / OFFERED
        await asyncio.sleep(due_s - time.monotonic())
        sent_s = time.monotonic()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        await reader.readexactly(int(_field(head, "content-length")))
        outcomes.append(
            Outcome(sent_s, time.monotonic(), int(head.split()[1]), _field(head, "retry-after"))
        )
    writer.close()
    return outcomes


def _field(head: str, name: str) -> str:
    return head.partition(f"\r\n{name}: ")[2].partition("\r\n")[0]
