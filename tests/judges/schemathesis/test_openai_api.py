"""Schemathesis asks the routes of OpenAI's API, before an llm and an embedder that are played."""

from collections.abc import Iterator

import pytest
from scripted_mesh import ScriptedMesh
from whole_run import WholeRun

CASES = 1000
EXAMPLES = 60
# What these routes give a request of their own accord, at least.
USUAL_TIMEOUT_MS = 30_000
# The embedder that is played, by the name that the document has as its example.
ROUTING = """
[embeddings]
all-MiniLM-L6-v2 = "embed-small"
"""
# Most names that it makes up lead nowhere, and most times are over at once. What it makes up is for
# streams; whole answers are asked for where it covers the document.
SETTINGS = """
[dictionaries]
generating.values = ["llm", "llm-terse"]
embedding.values = ["all-MiniLM-L6-v2", "embed-small"]

[parameters]
"path.model" = { dictionary = "generating", probability = 0.9 }
"header.x-request-timeout-ms" = "20000"

[[operations]]
include-path-regex = "completions|responses"
parameters."body.model" = { dictionary = "generating", probability = 0.9 }
parameters."body.stream" = true

[[operations]]
include-path-regex = "embeddings"
parameters."body.model" = { dictionary = "embedding", probability = 0.9 }
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedMesh]:
    folder = tmp_path_factory.mktemp("mesh")
    (folder / "routing.toml").write_text(ROUTING)
    settings = {"MESH_GATEWAY_LLM_ROUTING_PATH": folder / "routing.toml"}
    with ScriptedMesh(folder, played=("llm", "embedder"), **settings) as started:
        yield started


@pytest.fixture(scope="module")
def run(mesh: ScriptedMesh, tmp_path_factory: pytest.TempPathFactory) -> WholeRun:
    # One worker: for parameters of any type the tester has Python parse code, and 3.11 at times
    # fails at that in two threads at once.
    options = ("--include-tag", "openai", "--max-examples", str(EXAMPLES), "--workers", "1")
    return WholeRun.of(mesh, tmp_path_factory.mktemp("schemathesis"), SETTINGS, *options)


def test_every_operation_keeps_to_the_document(run: WholeRun) -> None:
    run.check_answers(CASES)


def test_the_gateway_names_no_fault_of_its_own(run: WholeRun) -> None:
    run.check_log(USUAL_TIMEOUT_MS)
    assert {200, 400, 401, 404, 405, 415} <= run.statuses
