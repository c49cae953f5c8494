"""The catalogue of hostile calls at the gRPC door: each has its code and its message."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

import hostile_scene
from hostile_grpc import GRPC_CASES, GrpcAttacker, GrpcCase
from hostile_labels import labels
from watched_mesh import WatchedMesh


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedMesh]:
    folder = tmp_path_factory.mktemp("hostile")
    with WatchedMesh(folder, **hostile_scene.settings(folder)) as started:
        yield started


@pytest.fixture(scope="module")
def scene(mesh: WatchedMesh) -> hostile_scene.Scene:
    return hostile_scene.scene_of(mesh, labels(mesh))


@pytest.fixture
async def attacker(mesh: WatchedMesh) -> AsyncIterator[GrpcAttacker]:
    async with GrpcAttacker(mesh.gateway.address) as opened:
        yield opened


@pytest.mark.parametrize("case", GRPC_CASES, ids=lambda case: case.name)
async def test_the_grpc_door(
    attacker: GrpcAttacker, scene: hostile_scene.Scene, case: GrpcCase
) -> None:
    case.check(scene, await attacker.ask(case, scene))


async def attack(mesh: WatchedMesh, scene: hostile_scene.Scene) -> None:
    """Makes every call of the catalogue whose end is the gateway's to say, over one channel."""
    async with GrpcAttacker(mesh.gateway.address) as attacker:
        for case in (each for each in GRPC_CASES if not each.race):
            case.check(scene, await attacker.ask(case, scene))


async def test_nothing_is_left_behind(mesh: WatchedMesh, scene: hostile_scene.Scene) -> None:
    begun = len(mesh.gateway.log)
    await attack(mesh, scene)
    before = await asyncio.to_thread(mesh.held_at_rest)
    for _ in range(3):
        await attack(mesh, scene)
    assert (await asyncio.to_thread(mesh.held_in_the_end, before)).within(before)
    told = mesh.gateway.log[begun:] + mesh.service.log
    assert "Traceback" not in told
    assert scene.key.text not in mesh.gateway.log
