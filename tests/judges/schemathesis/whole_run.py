"""A whole run of the tester against a mesh, and what has to hold of it."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from real_mesh import Mesh

LONGEST_RUN_S = 900
# 504 is the right answer to whoever asks for an answer within a millisecond.
SETTINGS = """\
[auth.openapi.apiKey]
api_key = "{key}"

[checks]
positive_data_acceptance.enabled = false
negative_data_rejection.enabled = false
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "504"]
"""


@dataclass(frozen=True)
class WholeRun:
    """What a run found.

    Attributes:
        report: the tester's own.
        log: what the gateway wrote meanwhile.
    """

    report: dict[str, Any]
    log: Sequence[dict[str, Any]]

    @classmethod
    def of(cls, mesh: Mesh, folder: Path, settings: str, *options: str) -> Self:
        """Asks the gateway everything.

        Args:
            mesh: whose gateway is asked.
            folder: for the settings and the report.
            settings: of the tester, beside those of every run.
            options: of its command line, too.
        """
        (folder / "schemathesis.toml").write_text(SETTINGS.format(key=mesh.key) + settings)
        report = folder / "report.json"
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            *("run", f"http://127.0.0.1:{mesh.port}/openapi.json", *options),
            *("--phases", "examples,coverage,fuzzing", "--continue-on-failure"),
            *("--seed", "1", "--suppress-health-check", "all"),
            *("--report", "json", "--report-json-path", str(report)),
        ]
        ran = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=LONGEST_RUN_S, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        # Not `splitlines`, which would end a line at characters that JSON may have in a string.
        log = [json.loads(line) for line in mesh.gateway.log.split("\n") if line]
        return cls(json.loads(report.read_text()), log)

    def check_answers(self, cases: int) -> None:
        """Every operation kept to the document, in so many cases at least."""
        report = self.report
        assert report["complete"]
        assert report["operations"]["selected"] == report["operations"]["tested"]
        assert report["failures"] == report["errors"] == []
        assert report["test_cases"]["generated"] >= cases

    def check_log(self, usual_timeout_ms: float) -> None:
        """The gateway names no fault of its own, and was late for impatient callers alone."""
        assert [line for line in self.log if line["level"] not in ("INFO", "WARNING")] == []
        assert not self.statuses & {500, 501, 502, 503}
        late = [line["duration_ms"] for line in self.log if line.get("status") == 504]
        assert all(duration_ms < usual_timeout_ms for duration_ms in late)

    @property
    def statuses(self) -> set[int]:
        """All that the gateway answered with."""
        return {line["status"] for line in self.log if "status" in line}
