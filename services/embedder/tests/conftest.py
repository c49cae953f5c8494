"""A version of the model, and what tests make of it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from mesh_embedder.network import Network, load
from meshkit import aliases, store
from meshkit.store import Version
from ports import free_port
from processes import Process, Start

# How long an example takes says nothing: machines are busy.
hypothesis.settings.register_profile("mesh", deadline=None)
hypothesis.settings.load_profile("mesh")

ROOM = Path(__file__).resolve().parents[1]
REPOSITORY = ROOM.parents[1]


def in_production(home: Path) -> bool:
    return aliases.read(home, "embedder") is not None


@pytest.fixture(scope="session")
def models(request: pytest.FixtureRequest) -> Path:
    """The home of a store with a version in production.

    The one that MESH_MODELS_PATH names, else the repository's own, else one that is made here and
    kept until `pytest --cache-clear`.
    """
    if named := os.environ.get("MESH_MODELS_PATH"):
        return Path(named)
    for home in (REPOSITORY / ".mesh" / "models", request.config.cache.mkdir("models")):
        if in_production(home):
            return home
    python = ROOM / ".venv-training" / "bin" / "python"
    if not python.exists():
        pytest.fail("no model of the embedder: run `make up`, or name a store in MESH_MODELS_PATH")
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        command: list[str | Path] = [python, "-m", "mesh_embedder.training"]
        subprocess.run([*command, "--models-path", home], check=True, timeout=900)
    return home


@pytest.fixture(scope="session")
def version(models: Path) -> Version:
    return store.resolve(models, "embedder")


@pytest.fixture(scope="session")
def network(version: Version) -> Network:
    return load(version, max_batch_size=8, threads=1).network


@pytest.fixture(scope="module")
def start(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    started: list[Process] = []

    def begin(**settings: str) -> Process:
        ports = free_port(), free_port()
        log = tmp_path_factory.mktemp("process") / "log"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MESH_")},
            "MESH_MODELS_PATH": str(models),
            "MESH_DEPLOYMENT": "test",
            "MESH_EMBEDDER_GRPC_PORT": str(ports[0]),
            "MESH_EMBEDDER_ADMIN_PORT": str(ports[1]),
            # On a machine that others use too waits are long, and no test is about that.
            "MESH_EMBEDDER_MAX_QUEUE_WAIT_MS": "60000",
            **settings,
        }
        command = [sys.executable, "-m", "mesh_embedder"]
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        started.append(Process(process, *ports, log))
        return started[-1]

    yield begin
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()
