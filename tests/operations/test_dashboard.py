"""The dashboard asks for what there is, in units, and works in any Grafana it is imported into."""

import json
import re
from typing import Any, Final

import promql_parser as promql
import pytest

from operations.promql import FILES, labels, metrics, recorded, selectors

DASHBOARD: Final = json.loads((FILES / "inference-mesh.json").read_text(encoding="utf-8"))
PANELS: Final = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


def query(target: dict[str, Any]) -> str:
    """What Prometheus is asked, with values for Grafana's variables."""
    asked: str = target["expr"]
    return asked.replace("$__rate_interval", "5m").replace("$cpu_hour_price", "1")


def targets() -> list[dict[str, Any]]:
    of_panels = [target for panel in PANELS for target in panel["targets"]]
    return of_panels + [each for each in DASHBOARD["annotations"]["list"] if "expr" in each]


@pytest.mark.parametrize("target", targets(), ids=lambda target: target["expr"][:60])
def test_queries_read_only_what_there_is(target: dict[str, Any]) -> None:
    own = metrics()
    known = own | recorded(own)
    for each in selectors(query(target)):
        assert each.name in known, f"nobody says {each.name}"
        assert each.labels <= known[each.name]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_has_a_unit_and_shows_the_chosen_meshes(panel: dict[str, Any]) -> None:
    assert panel["datasource"] == DATASOURCE
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults.get("unit") or panel["options"]["yAxis"]["unit"]
    for target in panel["targets"]:
        assert target["datasource"] == DATASOURCE
        first = selectors(query(target))[0]
        assert "namespace" in first.labels, f"{target['expr']} shows every mesh"
        own = metrics()
        had = labels(promql.parse(query(target)), own | recorded(own))
        named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        assert named <= had, f"the legend of {target['expr']} names {named - had}"


def test_every_part_has_a_row_and_nothing_overlaps() -> None:
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == [
        "Traffic",
        "Errors",
        "Latency",
        "Limits and keys",
        "Backends",
        "Models and batching",
        "Large language model",
        "Cost",
        "Resources",
    ]
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_it_is_portable() -> None:
    assert DASHBOARD["uid"] == "inference-mesh"
    assert "id" not in DASHBOARD
    assert DASHBOARD["schemaVersion"] == 42
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "namespace", "route", "cpu_hour_price"]
    assert variables["datasource"]["query"] == "prometheus"
    # Series without the label are shown too: a Prometheus outside of Kubernetes gives none.
    assert variables["namespace"]["allValue"] == ".*"
