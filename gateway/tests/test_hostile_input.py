"""The catalogue of hostile requests over HTTP: each has its status and its message, and no more."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import hostile_scene
from hostile_http import CLASSIFY, JSON, NATIVE_CASES, bearer
from hostile_oip import OIP_CASES
from hostile_wire import Attacker, HttpCase, Pair, request
from oip_calls import INFER
from watched_mesh import WatchedMesh

NEXT = NATIVE_CASES[0]


def named(cases: tuple[HttpCase, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


@pytest.fixture
async def attacker(watched: WatchedMesh) -> AsyncIterator[Attacker]:
    async with Attacker(watched.gateway.port) as opened:
        yield opened


async def check(attacker: Attacker, scene: hostile_scene.Scene, case: HttpCase) -> None:
    """The answer is right, and the next one, over the same connection where that is still open."""
    case.check(scene, await attacker.ask(case, scene))
    NEXT.check(scene, await attacker.ask(NEXT, scene))


@named(NATIVE_CASES)
async def test_native_routes(
    attacker: Attacker, scene: hostile_scene.Scene, case: HttpCase
) -> None:
    await check(attacker, scene, case)


@named(OIP_CASES)
async def test_the_open_inference_protocol(
    attacker: Attacker, scene: hostile_scene.Scene, case: HttpCase
) -> None:
    await check(attacker, scene, case)


async def attack(watched: WatchedMesh, scene: hostile_scene.Scene) -> None:
    """Sends the whole catalogue."""
    async with Attacker(watched.gateway.port) as attacker:
        for case in (*NATIVE_CASES, *OIP_CASES):
            case.check(scene, await attacker.ask(case, scene))


async def test_nothing_is_left_behind(watched: WatchedMesh, scene: hostile_scene.Scene) -> None:
    await attack(watched, scene)
    before = await asyncio.to_thread(watched.held_at_rest)
    for _ in range(3):
        await attack(watched, scene)
    assert (await asyncio.to_thread(watched.held_in_the_end, before)).within(before)
    told = watched.gateway.log + watched.service.log
    assert "Traceback" not in told
    assert scene.key.text not in told


@pytest.mark.parametrize("path", [CLASSIFY, INFER])
async def test_a_body_that_is_slower_than_the_route_allows(tmp_path: Path, path: str) -> None:
    timeouts = {"MESH_GATEWAY_CLASSIFY_TIMEOUT_S": 0.2, "MESH_GATEWAY_OIP_TIMEOUT_S": 0.2}
    with WatchedMesh(tmp_path, **timeouts) as own:
        scene = hostile_scene.scene_of(own, {})
        slow = request(path, b"{" * 100, [bearer(scene), JSON])[:-50]
        async with Attacker(own.gateway.port) as attacker:
            answer = await attacker.send(slow)
        assert answer.status == 504
        assert b"the deadline passed before the answer was ready" in answer.body


def test_the_pages_of_the_gateway_are_no_answers(watched: WatchedMesh) -> None:
    """They are as large as they are, whatever messages may be."""
    with watched.client() as client:
        script = client.get("/docs/assets/swagger-ui-bundle.js")
    assert script.status_code == 200
    assert len(script.content) > hostile_scene.MAX_MESSAGE_BYTES


async def test_a_large_body_leaves_its_deadline_to_nobody(
    attacker: Attacker, scene: hostile_scene.Scene
) -> None:
    """asyncio resumes reading in the context of the request whose body was too much at once."""

    def asking(*headers: Pair, **body: object) -> bytes:
        return request(CLASSIFY, json.dumps(body).encode(), [bearer(scene), JSON, *headers])

    large = asking(("x-request-timeout-ms", "5000"), texts=["a", *["b" * 60_000] * 4])
    assert (await attacker.send(large)).status == 200
    answer = await attacker.send(asking(texts=["time"]))
    assert float(json.loads(answer.body)["results"][0]["label"]) > 5
