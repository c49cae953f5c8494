"""The pages for operators lead somewhere, and what they show is what is taken."""

import json
import re
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml

from operations.promql import FILES, ROOT

PAGES: Final = sorted((ROOT / "docs" / "operations").glob("*.md"))
CHART: Final = ROOT / "charts" / "inference-mesh"
_LINK: Final = re.compile(r"\[[^\]]+\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
_BLOCK: Final = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def values_shown() -> list[tuple[str, dict[str, Any]]]:
    """The values of the chart that pages show."""
    chart = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    found = []
    for page in PAGES:
        for block in _BLOCK.findall(page.read_text("utf-8")):
            shown = yaml.safe_load(block)
            if isinstance(shown, dict) and set(shown) <= set(chart):
                found.append((page.name, shown))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_page_and_its_part(page: Path) -> None:
    for place, anchor in _LINK.findall(page.read_text("utf-8")):
        if "://" in place:
            continue
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{page.name} leads to {place}, which is not there"
        if anchor:
            assert anchor in anchors(target), f"{page.name} leads to {place}#{anchor}"


def test_the_index_has_every_page() -> None:
    index = (ROOT / "docs" / "operations" / "README.md").read_text("utf-8")
    listed = {place for place, _ in _LINK.findall(index) if "/" not in place}
    assert listed == {page.name for page in PAGES} - {"README.md"}


def test_values_that_pages_show_are_taken_by_the_chart() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    shown = values_shown()
    assert {"install.md", "tls.md", "observability.md"} <= {page for page, _ in shown}
    for page, values in shown:
        found = jsonschema.Draft7Validator(schema).iter_errors(values)
        assert [f"{page}: {error.json_path}: {error.message}" for error in found] == []


def test_other_examples_are_yaml_and_name_the_files_that_there_are() -> None:
    page = (ROOT / "docs" / "operations" / "observability.md").read_text("utf-8")
    blocks = [yaml.safe_load(block) for block in _BLOCK.findall(page)]
    (prometheus,) = (block for block in blocks if "scrape_configs" in block)
    (pattern,) = prometheus["rule_files"]
    assert len(list(FILES.glob(Path(pattern).name))) == 4
    (alertmanager,) = (block for block in blocks if "route" in block)
    alerts = (FILES / "alerts-requests.rules.yaml").read_text("utf-8")
    for rule in alertmanager["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            name = matcher.partition("=")[2].strip('"')
            assert f"alert: {name}\n" in alerts
