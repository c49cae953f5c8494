"""The gates that need no server: the files, and what training has measured."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mesh_cli import models_formats
from mesh_cli.models_catalogue import value_at
from mesh_cli.promotion.outcomes import Outcome, Verdict, judged
from mesh_cli.promotion.policy import Margin, Policy
from meshkit.store import Version


def files(version: Version) -> Outcome:
    """Every file is of the format that its name says, by its content, and holds data only."""
    faults = [f"{name} {fault}" for name, fault in models_formats.faults(version).items()]
    sizes = {name: path.stat().st_size for name, path in version.files.items() if path.exists()}
    return judged("files", faults, f"{len(sizes)} files hold data only", sizes)


def metrics(policy: Policy, new: Version, old: Version | None, old_fault: str = "") -> Outcome:
    """No figure is worse than in production by more than its margin.

    Args:
        policy: the margins.
        new: the candidate.
        old: the version in production; None where there is none that can be read.
        old_fault: why there is none that can be read; empty where there is none at all.
    """
    if old_fault:
        return Outcome("metrics", Verdict.FAILED, old_fault)
    if old is None:
        return Outcome(
            "metrics", Verdict.SKIPPED, "no version is in production yet, so none to compare with"
        )
    figures: dict[str, Any] = {"compared_with": old.name}
    faults, said = [], []
    for name, margin in policy.metrics.items():
        before, after = (_number(value_at(each.record, f"metrics.{name}")) for each in (old, new))
        figures[name] = {
            "production": before,
            "candidate": after,
            "margin": margin.worse_by_at_most,
        }
        if fault := _worse(name, margin, before, after):
            faults.append(fault)
        elif before is not None:
            said.append(f"{name} {before:.4f} -> {after:.4f}")
    outcome = judged("metrics", faults, ", ".join(said), figures)
    differing = [
        path
        for path in policy.test_part
        if value_at(old.record, path) != value_at(new.record, path)
    ]
    if not differing:
        return outcome
    figures["test_part_differs_in"] = differing
    note = f"not on the same test part: {', '.join(differing)} differ"
    return replace(outcome, summary=f"{outcome.summary} ({note})")


def parity(policy: Policy, version: Version) -> Outcome:
    """The exported graph gives what torch gave, by the figure stored when it was exported."""
    return _bounded("parity", policy.parity, version.record.get("parity"))


def batch_invariance(policy: Policy, version: Version) -> Outcome:
    """Neighbours in a batch change no answer, by the figure stored at training."""
    precision = str(version.record.get("default_precision"))
    if precision not in policy.batch_invariance:
        fault = f"the record's default precision is {precision}, for which there is no bound"
        return Outcome("batch invariance", Verdict.FAILED, fault)
    measured = value_at(version.record, f"batch_invariance.{precision}")
    return _bounded("batch invariance", policy.batch_invariance[precision], measured, precision)


def _worse(name: str, margin: Margin, before: float | None, after: float | None) -> str | None:
    """Says that a figure is too much worse; None when it is not."""
    if before is None:
        return None  # production was not asked for it
    if after is None:
        return f"{name} is missing (production has {before:.4f})"
    loss = after - before if margin.lower_is_better else before - after
    # Written so that a figure that is no number fails.
    if not loss <= margin.worse_by_at_most:
        way = "rose" if margin.lower_is_better else "fell"
        return (
            f"{name} {way} from {before:.4f} to {after:.4f}, "
            f"by {loss:.4f} where {margin.worse_by_at_most} is allowed"
        )
    return None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _bounded(gate: str, bounds: Mapping[str, float], measured: object, of: str = "") -> Outcome:
    """No measured figure passes its bound."""
    if not isinstance(measured, Mapping):
        return Outcome(gate, Verdict.FAILED, "the record has no such figures; train again")
    faults, said, figures = [], [], {}
    for name, bound in bounds.items():
        value = _number(measured.get(name))
        figures[name] = {"measured": value, "bound": bound}
        if value is None:
            faults.append(f"{name} is missing")
        elif not value <= bound:  # no number fails too
            faults.append(f"{name} is {value:.3g} where {bound:.3g} is allowed")
        else:
            said.append(f"{name} {value:.3g} of {bound:.3g}")
    return judged(gate, faults, ", ".join(said) + (f" ({of})" if of else ""), figures)
