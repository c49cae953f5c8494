"""Schemathesis asks the gateway what its OpenAPI document allows, and what it does not."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_mesh import Mesh, trained_models

CASES = 2000
EXAMPLES = 200
LONGEST_RUN_S = 900
# The clients that this form is made for judge it (`tests/judges/openai` and others), before an llm
# and an embedder, neither of which runs here.
JUDGED_ELSEWHERE = "^/v1/(chat|completions|embeddings|models)"
# The classification and the Open Inference Protocol give a request 10 s of their own accord.
USUAL_TIMEOUT_MS = 10_000
# 504 is the right answer to whoever asks for an answer within a millisecond.
SETTINGS = """\
[auth.openapi.apiKey]
api_key = "{key}"

[parameters]
"path.model" = "classifier"

[checks]
positive_data_acceptance.enabled = false
negative_data_rejection.enabled = false
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "504"]
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with Mesh(tmp_path_factory.mktemp("mesh"), trained_models()) as started:
        yield started


@pytest.fixture(scope="module")
def report(mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the whole run found."""
    folder = tmp_path_factory.mktemp("schemathesis")
    (folder / "schemathesis.toml").write_text(SETTINGS.format(key=mesh.key))
    ran = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            *("run", f"http://127.0.0.1:{mesh.port}/openapi.json"),
            *("--exclude-path-regex", JUDGED_ELSEWHERE),
            *("--phases", "examples,coverage,fuzzing", "--continue-on-failure"),
            *("--max-examples", str(EXAMPLES), "--seed", "1", "--workers", "2"),
            *("--suppress-health-check", "all"),
            *("--report", "json", "--report-json-path", str(folder / "report.json")),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LONGEST_RUN_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def test_every_operation_keeps_to_the_document(report: dict[str, Any]) -> None:
    assert report["complete"]
    assert report["operations"]["selected"] == report["operations"]["tested"]
    assert report["failures"] == report["errors"] == []
    assert report["test_cases"]["generated"] >= CASES


def test_the_gateway_names_no_fault_of_its_own(mesh: Mesh, report: dict[str, Any]) -> None:
    # Not `splitlines`, which would end a line at characters that JSON may have in a string.
    lines = [json.loads(line) for line in mesh.gateway.log.split("\n") if line]
    assert [line for line in lines if line["level"] not in ("INFO", "WARNING")] == []
    statuses = {line["status"] for line in lines if "status" in line}
    assert {200, 400, 401, 404, 405} <= statuses
    assert not statuses & {500, 501, 502, 503}
    late = [line["duration_ms"] for line in lines if line.get("status") == 504]
    assert all(duration_ms < USUAL_TIMEOUT_MS for duration_ms in late)
