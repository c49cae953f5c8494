"""Schemathesis asks the gateway what its OpenAPI document allows, and what it does not."""

from collections.abc import Iterator

import pytest
from real_mesh import Mesh, trained_models
from whole_run import WholeRun

CASES = 2000
EXAMPLES = 200
# The classification and the Open Inference Protocol give a request 10 s of their own accord.
USUAL_TIMEOUT_MS = 10_000
SETTINGS = """
[parameters]
"path.model" = "classifier"
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with Mesh(tmp_path_factory.mktemp("mesh"), trained_models()) as started:
        yield started


@pytest.fixture(scope="module")
def run(mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> WholeRun:
    # Those need an llm and an embedder: `test_openai_api`.
    options = ("--exclude-tag", "openai", "--max-examples", str(EXAMPLES), "--workers", "2")
    return WholeRun.of(mesh, tmp_path_factory.mktemp("schemathesis"), SETTINGS, *options)


def test_every_operation_keeps_to_the_document(run: WholeRun) -> None:
    run.check_answers(CASES)


def test_the_gateway_names_no_fault_of_its_own(run: WholeRun) -> None:
    run.check_log(USUAL_TIMEOUT_MS)
    assert {200, 400, 401, 404, 405} <= run.statuses
