"""What `make check` asks promtool about the files for Prometheus and Grafana.

`python -m mesh_cli.rule_checks` checks that the rules are well made, that each alert fires when it
should and only then (`tests/operations/rules`), and that the dashboard's queries are PromQL.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mesh_cli import promtool
from mesh_cli.failures import Failure
from mesh_cli.rooms import ROOT

FILES: Final = ROOT / "charts" / "inference-mesh" / "files"
TESTS: Final = ROOT / "tests" / "operations" / "rules"
COMMAND: Final = (sys.executable, "-m", "mesh_cli.rule_checks")
_TIMEOUT_S: Final = 600
# Grafana fills these in before Prometheus sees a query. In a string any value will do.
_VARIABLES: Final = {"$__rate_interval": "5m", "$cpu_hour_price": "1"}


def check() -> str:
    """Runs every check of promtool, each to its end.

    Returns:
        What promtool said.

    Raises:
        Failure: promtool found a fault, or there is no promtool.
    """
    tool = promtool.path(sys.stderr)
    rules = sorted(map(str, FILES.rglob("*.rules.yaml")))
    tests = sorted(map(str, TESTS.glob("*.yaml")))
    with tempfile.TemporaryDirectory() as folder:
        wrapped = Path(folder) / "dashboard.json"
        wrapped.write_text(json.dumps(as_rules(list(queries(FILES)))), encoding="utf-8")
        asked = (
            ["check", "rules", "--lint=all", "--lint-fatal", *rules],
            ["check", "rules", str(wrapped)],
            ["test", "rules", *tests],
        )
        ran = [_ask(tool, arguments) for arguments in asked]
    said = "\n".join(output for _, output in ran)
    if any(status for status, _ in ran):
        raise Failure(f"promtool found faults:\n{said}")
    return said


def queries(folder: Path) -> Iterator[str]:
    """Every query of the dashboards in a folder, with values for Grafana's variables."""
    for file in sorted(folder.glob("*.json")):
        dashboard = json.loads(file.read_text(encoding="utf-8"))
        asking = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
        asking += [each for each in dashboard["annotations"]["list"] if "expr" in each]
        for each in asking:
            query: str = each["expr"]
            for variable, value in _VARIABLES.items():
                query = query.replace(variable, value)
            yield query


def as_rules(of: list[str]) -> dict[str, Any]:
    """A rule file that records each query, for promtool to read. JSON is YAML, too."""
    recorded = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(of)]
    return {"groups": [{"name": "dashboard", "rules": recorded}]}


def _ask(tool: Path, arguments: list[str]) -> tuple[int, str]:
    ran = subprocess.run(
        [str(tool), *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    return ran.returncode, ran.stdout + ran.stderr


def main() -> None:
    """Says what promtool said; exits with 1 where it found a fault."""
    try:
        sys.stdout.write(check())
    except Failure as failure:
        sys.exit(f"error: {failure}")


if __name__ == "__main__":
    main()
