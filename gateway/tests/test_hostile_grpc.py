"""The catalogue of hostile calls at the gRPC door: each has its code and its message."""

import asyncio
from collections.abc import AsyncIterator

import pytest

import hostile_scene
from hostile_grpc import GRPC_CASES, GrpcAttacker, GrpcCase
from watched_mesh import WatchedMesh


@pytest.fixture
async def attacker(watched: WatchedMesh) -> AsyncIterator[GrpcAttacker]:
    async with GrpcAttacker(watched.gateway.address) as opened:
        yield opened


@pytest.mark.parametrize("case", GRPC_CASES, ids=lambda case: case.name)
async def test_the_grpc_door(
    attacker: GrpcAttacker, scene: hostile_scene.Scene, case: GrpcCase
) -> None:
    case.check(scene, await attacker.ask(case, scene))


async def attack(watched: WatchedMesh, scene: hostile_scene.Scene) -> None:
    """Makes every call of the catalogue whose end is the gateway's to say, over one channel."""
    async with GrpcAttacker(watched.gateway.address) as attacker:
        for case in (each for each in GRPC_CASES if not each.race):
            case.check(scene, await attacker.ask(case, scene))


async def test_nothing_is_left_behind(watched: WatchedMesh, scene: hostile_scene.Scene) -> None:
    begun = len(watched.gateway.log)
    await attack(watched, scene)
    before = await asyncio.to_thread(watched.held_at_rest)
    for _ in range(3):
        await attack(watched, scene)
    assert (await asyncio.to_thread(watched.held_in_the_end, before)).within(before)
    told = watched.gateway.log[begun:] + watched.service.log
    assert "Traceback" not in told
    assert scene.key.text not in watched.gateway.log
