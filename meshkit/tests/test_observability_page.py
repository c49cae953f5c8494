"""The page of metrics has what the code makes."""

import re
from pathlib import Path

from meshkit import names

ROOT = Path(__file__).resolve().parents[2]
MADE = re.compile(r"(telemetry\.\w+|Durations)\(\s*names\.(\w+)")
ROW = re.compile(r"^\| `([a-z_.]+)` \| (counter|gauge|histogram)", re.MULTILINE)
KINDS = {
    "Durations": "histogram",
    "telemetry.histogram": "histogram",
    "telemetry.counter": "counter",
    "telemetry.gauge": "gauge",
    "telemetry.observed": "gauge",
    "telemetry.up_down_counter": "gauge",
}


def test_every_metric_has_a_row_and_every_row_a_metric() -> None:
    made: dict[str, str] = {}
    for source in ("meshkit/src", "gateway/src", "services/*/src"):
        for folder in ROOT.glob(source):
            for module in folder.rglob("*.py"):
                for how, name in MADE.findall(module.read_text(encoding="utf-8")):
                    made[getattr(names, name)] = KINDS[how]
    page = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    assert dict(ROW.findall(page)) == made
