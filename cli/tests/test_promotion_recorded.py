"""The gates that read a version's record and files: their verdicts, and the figures they name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mesh_cli.failures import Failure
from mesh_cli.promotion import policy, recorded
from mesh_cli.promotion.outcomes import Verdict, failed
from mesh_cli.promotion.policy import Load, Margin, Policy
from meshkit import store
from meshkit.store import Version
from small_versions import MODEL, add_version, record

BOUNDS = Policy(
    test_part=["sources.rated-texts.files", "settings.seed"],
    metrics={
        "accuracy": Margin(0.01),
        "calibration_error": Margin(0.02, lower_is_better=True),
    },
    parity={"max_logit_difference": 1e-4},
    batch_invariance={"fp32": {"flipped_share": 0.0}, "int8": {"flipped_share": 0.01}},
    load=Load(calls=10, callers=2, texts_per_call=2),
)


def version(**changes: Any) -> Version:
    return Version(MODEL, "new", "new", "", {}, record(**changes))


def measured(**metrics: object) -> Version:
    return version(metrics=metrics)


OLD = replace(measured(accuracy=0.7, calibration_error=0.03), name="old")


@pytest.mark.parametrize(
    ("metrics", "verdict", "summary"),
    [
        (
            {"accuracy": 0.8, "calibration_error": 0.02},
            Verdict.PASSED,
            "accuracy 0.7000 -> 0.8000, calibration_error 0.0300 -> 0.0200",
        ),
        (
            {"accuracy": 0.6901, "calibration_error": 0.0499},
            Verdict.PASSED,
            "accuracy 0.7000 -> 0.6901, calibration_error 0.0300 -> 0.0499",
        ),
        (
            {"accuracy": 0.68, "calibration_error": 0.03},
            Verdict.FAILED,
            "accuracy fell from 0.7000 to 0.6800, by 0.0200 where 0.01 is allowed",
        ),
        (
            {"accuracy": 0.6, "calibration_error": 0.06},
            Verdict.FAILED,
            "accuracy fell from 0.7000 to 0.6000, by 0.1000 where 0.01 is allowed; "
            "calibration_error rose from 0.0300 to 0.0600, by 0.0300 where 0.02 is allowed",
        ),
        (
            {"calibration_error": 0.03},
            Verdict.FAILED,
            "accuracy is missing (production has 0.7000)",
        ),
        (
            {"accuracy": "high", "calibration_error": 0.03},
            Verdict.FAILED,
            "accuracy is missing (production has 0.7000)",
        ),
        (
            {"accuracy": float("nan"), "calibration_error": 0.03},
            Verdict.FAILED,
            "accuracy fell from 0.7000 to nan, by nan where 0.01 is allowed",
        ),
    ],
)  # fmt: skip
def test_metrics_may_be_worse_by_a_margin_only(
    metrics: dict[str, object], verdict: Verdict, summary: str
) -> None:
    outcome = recorded.metrics(BOUNDS, measured(**metrics), OLD)
    assert (outcome.verdict, outcome.summary) == (verdict, summary)
    assert outcome.figures["compared_with"] == "old"
    assert outcome.figures["accuracy"]["production"] == 0.7
    assert bool(failed([outcome])) is (verdict is Verdict.FAILED)


def test_other_texts_are_said_whatever_the_verdict() -> None:
    other = replace(OLD, record={**OLD.record, "settings": {"seed": 21}, "sources": {}})
    for accuracy, verdict in ((0.7, Verdict.PASSED), (0.5, Verdict.FAILED)):
        outcome = recorded.metrics(BOUNDS, measured(accuracy=accuracy, calibration_error=0), other)
        assert outcome.verdict is verdict
        assert outcome.summary.endswith(
            "(not on the same test part: sources.rated-texts.files, settings.seed differ)"
        )
        assert outcome.figures["test_part_differs_in"] == BOUNDS.test_part


def test_a_figure_that_production_lacks_is_not_asked_for() -> None:
    older = replace(OLD, record={**OLD.record, "metrics": {"accuracy": 0.7}})
    outcome = recorded.metrics(BOUNDS, measured(accuracy=0.7), older)
    assert (outcome.verdict, outcome.summary) == (Verdict.PASSED, "accuracy 0.7000 -> 0.7000")


def test_the_first_version_has_nothing_to_be_compared_with() -> None:
    outcome = recorded.metrics(BOUNDS, measured(), None)
    assert outcome.verdict is Verdict.SKIPPED
    assert outcome.summary == "no version is in production yet, so none to compare with"
    assert failed([outcome]) == []


def test_a_production_that_can_not_be_read_fails_the_comparison() -> None:
    outcome = recorded.metrics(BOUNDS, measured(), None, "what is in production can't be read (x)")
    assert outcome.verdict is Verdict.FAILED
    assert outcome.summary == "what is in production can't be read (x)"


@pytest.mark.parametrize(
    ("parity", "verdict", "summary"),
    [
        ({"max_logit_difference": 1e-4}, Verdict.PASSED, "max_logit_difference 0.0001 of 0.0001"),
        (
            {"max_logit_difference": 2e-3},
            Verdict.FAILED,
            "max_logit_difference is 0.002 where 0.0001 is allowed",
        ),
        ({}, Verdict.FAILED, "max_logit_difference is missing"),
        (None, Verdict.FAILED, "the record has no such figures; train again"),
    ],
)
def test_parity_is_held_against_its_bound(parity: object, verdict: Verdict, summary: str) -> None:
    outcome = recorded.parity(BOUNDS, version(parity=parity))
    assert (outcome.verdict, outcome.summary) == (verdict, summary)


@pytest.mark.parametrize(
    ("precision", "share", "verdict", "summary"),
    [
        ("fp32", 0.0, Verdict.PASSED, "flipped_share 0 of 0 (fp32)"),
        ("fp32", 0.001, Verdict.FAILED, "flipped_share is 0.001 where 0 is allowed"),
        ("int8", 0.009, Verdict.PASSED, "flipped_share 0.009 of 0.01 (int8)"),
        ("int8", 0.03, Verdict.FAILED, "flipped_share is 0.03 where 0.01 is allowed"),
        (
            "fp4",
            0.0,
            Verdict.FAILED,
            "the record's default precision is fp4, for which there is no bound",
        ),
    ],
)
def test_batch_invariance_is_that_of_the_precision_that_serves(
    precision: str, share: float, verdict: Verdict, summary: str
) -> None:
    figures = {precision: {"flipped_share": share}, "other": {"flipped_share": 1.0}}
    candidate = version(default_precision=precision, batch_invariance=figures)
    outcome = recorded.batch_invariance(BOUNDS, candidate)
    assert (outcome.verdict, outcome.summary) == (verdict, summary)


def test_files_are_looked_into(tmp_path: Path) -> None:
    add_version(tmp_path / "home", tmp_path / "files", "a1")
    candidate = store.open_version(tmp_path / "home", MODEL, "a1")
    outcome = recorded.files(candidate)
    assert (outcome.verdict, outcome.summary) == (Verdict.PASSED, "4 files hold data only")
    candidate.file("config.json").write_bytes(b"\x80\x04N.")
    outcome = recorded.files(candidate)
    assert (outcome.verdict, outcome.summary) == (Verdict.FAILED, "config.json is a pickle")


def test_the_classifier_states_its_bounds_and_its_golden_set() -> None:
    bounds, golden = policy.load_policy(MODEL), policy.load_golden(MODEL)
    assert bounds.load.calls == 1000
    assert {"accuracy", "macro_f1"} <= bounds.metrics.keys()
    assert bounds.batch_invariance.keys() == {"fp32", "int8"}
    assert len(golden.cases) >= 40
    assert {case.label for case in golden.cases} == {"negative", "neutral", "positive", None}


def test_a_service_without_bounds_can_not_be_promoted() -> None:
    with pytest.raises(Failure, match="no room is called 'services/weather'"):
        policy.load_policy("weather")
