"""What a PromQL query reads, which labels its answer has, and the metrics that there are."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import promql_parser as promql
import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
FILES: Final = ROOT / "charts" / "inference-mesh" / "files"
# What a scrape job and the operator put on every series.
TARGET: Final = frozenset({"namespace", "job", "instance", "pod"})
_ROW: Final = re.compile(
    r"^\| `([a-z_.]+)` \| (counter|gauge|histogram)(, s)? \|([^|]*)\|", re.MULTILINE
)
# Of prometheus_client, in every process.
_PROCESS: Final = (
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
)


# Of vLLM, which the service of the LLM passes on as they are.
_ENGINE: Final = (
    "vllm:kv_cache_usage_perc",
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:prefix_cache_hits_total",
    "vllm:prefix_cache_queries_total",
)


@dataclass(frozen=True)
class Selector:
    """What a query reads.

    Attributes:
        name: of the metric.
        labels: that it is chosen by.
    """

    name: str
    labels: frozenset[str]


def load(file: Path) -> list[dict[str, Any]]:
    """Every rule of a rule file."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    return [rule for group in content["groups"] for rule in group["rules"]]


def metrics() -> dict[str, frozenset[str]]:
    """The series of the mesh, as Prometheus names them, with their labels.

    They come from docs/observability.md, which a test of meshkit holds against the code.
    """
    page = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    found = dict.fromkeys(("up", *_PROCESS), TARGET)
    found |= dict.fromkeys(_ENGINE, TARGET | {"engine", "model_name"})
    before: frozenset[str] = frozenset()
    for name, kind, seconds, attributes in _ROW.findall(page):
        labels = {each.replace(".", "_") for each in re.findall(r"`([^`]+)`", attributes)}
        labels |= before if attributes.strip().startswith("the same") else frozenset()
        before = frozenset(labels)
        series = name.replace(".", "_") + ("_seconds" if seconds else "")
        if kind == "histogram":
            found |= {f"{series}_{part}": before | TARGET for part in ("sum", "count")}
            found[f"{series}_bucket"] = before | TARGET | {"le"}
        else:
            found[series + ("_total" if kind == "counter" else "")] = before | TARGET
    return found


def selectors(query: str) -> list[Selector]:
    """Everything that a query reads."""
    found: list[Selector] = []

    def visit(expression: promql.Expr) -> bool:
        if isinstance(expression, promql.VectorSelector):
            assert expression.name, f"a selector of {query} names no metric"
            names = frozenset(each.name for each in expression.matchers.matchers)
            found.append(Selector(expression.name, names))
        return True

    promql.walk(promql.parse(query), visit)
    return found


def labels(expression: promql.Expr, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The labels that every series of an answer may have.

    Args:
        expression: of the query.
        known: the labels of each metric.
    """
    match expression:
        case promql.VectorSelector():
            found = known[str(expression.name)]
        case promql.MatrixSelector():
            found = known[str(expression.vector_selector.name)]
        case promql.AggregateExpr():
            assert expression.modifier, "an aggregation over every label"
            found = frozenset(expression.modifier.labels) & labels(expression.expr, known)
        case promql.Call():
            found = _labels_of_call(expression, known)
        case promql.BinaryExpr():
            found = _labels_of_two(expression, known)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            found = labels(expression.expr, known)
        case _:
            found = frozenset()
    return found


def _labels_of_call(call: promql.Call, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    if call.func.name == "absent":
        return frozenset()
    found = frozenset[str]().union(*(labels(each, known) for each in call.args))
    if call.func.name == "histogram_quantile":
        return found - {"le"}
    return found | {call.args[1].val} if call.func.name == "label_replace" else found


def _labels_of_two(both: promql.BinaryExpr, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    left, right = labels(both.lhs, known), labels(both.rhs, known)
    if re.search(r"\bor\b", str(both.op)):
        return left & right
    matching = both.modifier.matching if both.modifier else None
    one_to_one = (
        both.modifier is None or both.modifier.card == promql.VectorMatchCardinality.OneToOne
    )
    if left and right and matching and one_to_one:
        chosen = frozenset(matching.labels)
        included = matching.type == promql.LabelModifierType.Include
        return left & chosen if included else left - chosen
    # A number on one side, or a set operation: the labels of the other.
    return left or right


def recorded(known: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """The series that the rules record, with their labels."""
    found: dict[str, frozenset[str]] = {}
    for rule in load(FILES / "recording.rules.yaml"):
        of_query = labels(promql.parse(rule["expr"]), {**known, **found})
        found[rule["record"]] = of_query | frozenset(rule.get("labels", {}))
    return found
