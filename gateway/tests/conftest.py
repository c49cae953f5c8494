"""One mesh for all tests that leave it as it was, and one of its own for a test that does not."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import hypothesis
import pytest

import hostile_scene
from counter_mesh import CounterMesh
from hostile_labels import labels
from llm_mesh import RoutedMesh
from observed_mesh import ObservedMesh
from processes import Mesh
from watched_mesh import WatchedMesh

# How long an example takes says nothing: machines are busy.
hypothesis.settings.register_profile("mesh", deadline=None)
hypothesis.settings.load_profile("mesh")


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with Mesh(tmp_path_factory.mktemp("mesh")) as started:
        yield started


@pytest.fixture
def own_mesh(tmp_path: Path) -> Iterator[Mesh]:
    with Mesh(tmp_path) as started:
        yield started


@pytest.fixture
def client(mesh: Mesh) -> Iterator[httpx.Client]:
    with mesh.client() as opened:
        yield opened


@pytest.fixture(scope="session")
def counter_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CounterMesh]:
    """A mesh whose answers are streams, too."""
    with CounterMesh(tmp_path_factory.mktemp("counter")) as started:
        yield started


@pytest.fixture(scope="session")
def llm_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoutedMesh]:
    """A mesh with scripted llms."""
    with RoutedMesh(tmp_path_factory.mktemp("llm")) as started:
        yield started


@pytest.fixture(scope="session")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObservedMesh]:
    """A mesh with a collector."""
    with ObservedMesh(tmp_path_factory.mktemp("observed")) as started:
        yield started


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedMesh]:
    """A mesh for hostile requests, that shows what its gateway holds on to."""
    folder = tmp_path_factory.mktemp("hostile")
    with WatchedMesh(folder, **hostile_scene.settings(folder)) as started:
        yield started


@pytest.fixture(scope="session")
def scene(watched: WatchedMesh) -> hostile_scene.Scene:
    """What hostile requests need to know of it."""
    return hostile_scene.scene_of(watched, labels(watched))
