"""Runs the tests that are written for node, in a folder with the packages that they import."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from real_mesh import ROOT
from scripted_mesh import ScriptedMesh, trained_embedder

pytestmark = pytest.mark.full
HERE = Path(__file__).parent
PLAYGROUND = ROOT / "gateway/src/mesh_gateway/playground/static"
NEEDS_EMBEDDER = pytest.mark.skipif(
    trained_embedder() is None, reason="there is no embedder in the model store"
)
LONGEST_S = 300
COUNT = re.compile(r"^# (\w+) (\d+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedMesh]:
    """A mesh that nobody else uses."""
    folder = tmp_path_factory.mktemp("mesh")
    with ScriptedMesh(folder, embedder=trained_embedder()) as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests, with their packages installed."""
    made = tmp_path_factory.mktemp("node")
    tried = [PLAYGROUND / "snippets.js", PLAYGROUND / "sse.js"]
    for file in (*HERE.glob("*.mjs"), *HERE.glob("package*.json"), *tried):
        shutil.copy(file, made)
    run(made, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    return made


def run(folder: Path, program: str, *options: str, **variables: str) -> str:
    """What a program of the environment says; it must succeed."""
    tools = Path(sys.executable).parent
    path: Mapping[str, str] = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    ran = subprocess.run(
        [tools / program, *options],
        cwd=folder,
        env={**os.environ, **path, **variables},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize(
    "file",
    [
        "openai.test.mjs",
        "ai.test.mjs",
        "playground.test.mjs",
        "events.test.mjs",
        pytest.param("embeddings.test.mjs", marks=NEEDS_EMBEDDER),
    ],
)
def test_node(folder: Path, mesh: ScriptedMesh, file: str) -> None:
    reporter = "--test-reporter=tap"
    said = run(folder, "node", "--test", reporter, file, MESH_URL=mesh.url, MESH_KEY=mesh.key)
    counts = {name: int(number) for name, number in COUNT.findall(said)}
    assert counts["pass"] == counts["tests"] > 0
    assert counts["fail"] == counts["skipped"] == counts["todo"] == 0
