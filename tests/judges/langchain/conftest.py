"""One mesh for every test of this judge."""

from collections.abc import Iterator

import pytest
from scripted_mesh import ScriptedMesh, trained_embedder


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedMesh]:
    """A mesh that nobody else uses; its language model says what the user's message scripts."""
    folder = tmp_path_factory.mktemp("mesh")
    with ScriptedMesh(folder, embedder=trained_embedder()) as started:
        yield started
