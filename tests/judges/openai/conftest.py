"""One mesh for every test of this judge, and the client that an application would have."""

from collections.abc import AsyncIterator, Iterator

import pytest
from openai import AsyncOpenAI, OpenAI
from scripted_mesh import ScriptedMesh, trained_embedder


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedMesh]:
    """A mesh that nobody else uses; its language model says what the user's message scripts."""
    folder = tmp_path_factory.mktemp("mesh")
    with ScriptedMesh(folder, embedder=trained_embedder()) as started:
        yield started


@pytest.fixture
def client(mesh: ScriptedMesh) -> Iterator[OpenAI]:
    """The client as it comes: with its own timeout and its own retries."""
    with OpenAI(base_url=f"{mesh.url}/v1", api_key=mesh.key) as opened:
        yield opened


@pytest.fixture
async def asynchronous(mesh: ScriptedMesh) -> AsyncIterator[AsyncOpenAI]:
    """The asynchronous client."""
    async with AsyncOpenAI(base_url=f"{mesh.url}/v1", api_key=mesh.key) as opened:
        yield opened
