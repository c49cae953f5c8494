"""The rules read what there is, and say of each alert what it is and what to do.

Whether each fires when it should, promtool tests (`rules/`, run by `make check`).
"""

import re
from pathlib import Path
from typing import Any, Final

import promql_parser as promql
import pytest
import yaml

from operations.promql import FILES, ROOT, TARGET, labels, load, metrics, recorded, selectors

RUNBOOK: Final = ROOT / "docs" / "operations" / "runbook.md"
OPTIONAL: Final = FILES / "optional" / "kubernetes.rules.yaml"
RULE_FILES: Final = sorted(FILES.rglob("*.rules.yaml"))
# Of kube-state-metrics, cAdvisor and node-exporter.
OF_OTHERS: Final = {
    "container_cpu_cfs_periods_total": {"pod", "container"},
    "container_cpu_cfs_throttled_periods_total": {"pod", "container"},
    "container_memory_working_set_bytes": {"pod", "container"},
    "kube_deployment_spec_replicas": {"deployment"},
    "kube_deployment_status_replicas_available": {"deployment"},
    "kube_horizontalpodautoscaler_spec_max_replicas": {"horizontalpodautoscaler"},
    "kube_horizontalpodautoscaler_status_current_replicas": {"horizontalpodautoscaler"},
    "kube_pod_container_resource_limits": {"pod", "container", "resource"},
    "kube_pod_container_status_last_terminated_reason": {"pod", "container", "reason"},
    "kube_pod_container_status_restarts_total": {"pod", "container"},
    "node_timex_offset_seconds": set[str](),
    "node_timex_sync_status": set[str](),
}


def known_to(file: Path) -> dict[str, frozenset[str]]:
    own = metrics()
    others = {name: TARGET | extra for name, extra in OF_OTHERS.items()}
    return own | recorded(own) | (others if file == OPTIONAL else {})


def alerts() -> list[tuple[Path, dict[str, Any]]]:
    return [(file, rule) for file in RULE_FILES for rule in load(file) if "alert" in rule]


@pytest.mark.parametrize("file", RULE_FILES, ids=lambda file: file.name)
def test_rules_read_only_what_there_is(file: Path) -> None:
    known = known_to(file)
    for rule in load(file):
        for each in selectors(rule["expr"]):
            assert each.name in known, f"{rule} reads {each.name}, which nobody says"
            unknown = each.labels - known[each.name]
            assert not unknown, f"{each.name} has no label {unknown}"


def test_recorded_names_say_level_metric_and_operation() -> None:
    for name in recorded(metrics()):
        assert re.fullmatch(r"(job|route|route_le):mesh_[a-z_]+:[a-z0-9_]+", name)


def test_what_is_recorded_is_used() -> None:
    read = {
        each.name for file in RULE_FILES for rule in load(file) for each in selectors(rule["expr"])
    }
    dashboard = (FILES / "inference-mesh.json").read_text(encoding="utf-8")
    unused = [name for name in recorded(metrics()) if name not in read and name not in dashboard]
    assert unused == []


@pytest.mark.parametrize(
    ("file", "rule"), alerts(), ids=lambda of: of.get("alert", "") if isinstance(of, dict) else ""
)
def test_an_alert_says_what_it_is_and_names_labels_that_it_has(
    file: Path, rule: dict[str, Any]
) -> None:
    assert rule["labels"] == {"severity": rule["labels"]["severity"]}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    had = labels(promql.parse(rule["expr"]), known_to(file))
    for text in rule["annotations"].values():
        named = set(re.findall(r"\$labels\.(\w+)", text))
        assert named <= had, f"{rule['alert']} names {named - had}"


def test_every_alert_has_a_part_of_the_runbook_and_each_part_an_alert() -> None:
    page = RUNBOOK.read_text(encoding="utf-8")
    parts = {
        line.removeprefix("## ").lower() for line in page.splitlines() if line.startswith("## Mesh")
    }
    named = set()
    for _, rule in alerts():
        place, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert ROOT / place == RUNBOOK
        assert anchor in parts, f"{rule['alert']} has no part in {place}"
        named.add(anchor)
    assert named == parts


def test_every_alert_is_tested_to_fire() -> None:
    tested: set[str] = set()
    for file in (Path(__file__).parent / "rules").glob("*.yaml"):
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]:
            for query in test.get("promql_expr_test", []):
                for sample in query.get("exp_samples", []):
                    tested |= set(re.findall(r'alertname="(\w+)"', sample["labels"]))
    assert tested == {rule["alert"] for _, rule in alerts()}
