"""A trained version of the model, and what tests make of it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest

from mesh_classifier.network import Network
from meshkit import aliases, store
from meshkit.store import Version
from ports import free_port
from processes import Process, Start
from support import UNBEARABLE, load_network

# How long an example takes says nothing: machines are busy.
hypothesis.settings.register_profile("mesh", deadline=None)
hypothesis.settings.load_profile("mesh")

ROOM = Path(__file__).resolve().parents[1]
REPOSITORY = ROOM.parents[1]


def in_production(home: Path) -> bool:
    return aliases.read(home, "classifier") is not None


@pytest.fixture(scope="session")
def models(request: pytest.FixtureRequest) -> Path:
    """The home of a store with a version in production.

    The one that MESH_MODELS_PATH names, else the repository's own, else one that is trained here
    and kept until `pytest --cache-clear`.
    """
    if named := os.environ.get("MESH_MODELS_PATH"):
        return Path(named)
    for home in (REPOSITORY / ".mesh" / "models", request.config.cache.mkdir("models")):
        if in_production(home):
            return home
    python = ROOM / ".venv-training" / "bin" / "python"
    if not python.exists():
        pytest.fail("no trained classifier: run `make up`, or name a store in MESH_MODELS_PATH")
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        command: list[str | Path] = [python, "-m", "mesh_classifier.training", "--recipe", "quick"]
        subprocess.run([*command, "--models-path", home], check=True, timeout=900)
    return home


@pytest.fixture(scope="session")
def version(models: Path) -> Version:
    return store.resolve(models, "classifier")


@pytest.fixture(scope="session")
def fp32(version: Version) -> Network:
    return load_network(version, "fp32")


@pytest.fixture(scope="session")
def int8(version: Version) -> Network:
    return load_network(version, "int8")


@pytest.fixture(scope="session")
def broken(version: Version, tmp_path_factory: pytest.TempPathFactory) -> Network:
    """A version whose graph fails on one word: its tokenizer gives an id beyond the word table."""
    tokenizer = json.loads(version.file("tokenizer.json").read_bytes())
    tokenizer["model"]["vocab"][UNBEARABLE] = 1_000_000
    path: Path = tmp_path_factory.mktemp("broken") / "tokenizer.json"
    path.write_text(json.dumps(tokenizer))
    damaged = replace(version, files={**version.files, "tokenizer.json": path})
    return load_network(damaged, "fp32")


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
            "MESH_CLASSIFIER_GRPC_PORT": str(ports[0]),
            "MESH_CLASSIFIER_ADMIN_PORT": str(ports[1]),
            # On a machine that others use too waits are long, and no test is about that.
            "MESH_CLASSIFIER_MAX_QUEUE_WAIT_MS": "60000",
            **settings,
        }
        command = [sys.executable, "-m", "mesh_classifier"]
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        started.append(Process(process, *ports, log))
        return started[-1]

    yield begin
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()
