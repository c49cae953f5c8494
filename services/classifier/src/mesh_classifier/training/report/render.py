"""Makes pages of a report: one to look at, with plots, and the model card."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from mesh_classifier.calibration import LABELS
from mesh_classifier.training.report.document import Document
from mesh_classifier.training.report.figures import ALL, Bins, Length, Report
from mesh_pipelines import plots
from mesh_pipelines.bootstrap import Difference, Estimate
from mesh_pipelines.plots import PrecisionRecall
from mesh_pipelines.statistics import Reliability

OURS: Final = "the classifier"
# How kinds of training data are called.
_DATA: Final = {
    "all": "all sources",
    "films": "films only",
    "cleaned": "all sources, without doubtful labels",
}
_UNDEFINED: Final = "-"


def page(document: Document) -> str:
    """One page of HTML that needs nothing beside it."""
    svgs = {name: Markup(svg) for name, svg in drawn(document.report).items()}  # noqa: S704  # ours
    return _render("page.html.j2", document, svgs)


def card(document: Document, folder: str) -> str:
    """The model card, in Markdown.

    Args:
        document: what it says.
        folder: where the plots of `drawn` lie, seen from the card.
    """
    paths = {name: f"{folder}/{name}.svg" for name in drawn(document.report)}
    return _render("card.md.j2", document, paths)


def drawn(report: Report) -> dict[str, str]:
    """The plots of a report, as SVG."""
    slices = list(report.slices)
    systems = {OURS: report.slices, **report.baselines}
    return {
        "confusion": plots.confusion(np.array(report.confusion), LABELS),
        "reliability": plots.reliability(
            {
                "before scaling": _reliability(report.calibration.before),
                "after scaling": _reliability(report.calibration.after),
            }
        ),
        "precision-recall": plots.precision_recall(
            {
                name: PrecisionRecall(curve.precision, curve.recall, curve.area)
                for name, curve in report.curves.items()
            }
        ),
        "lengths": plots.bars(
            {OURS: [length.accuracy for length in report.lengths]},
            [f"{words(length)}\n({length.texts})" for length in report.lengths],
            "accuracy by words (texts)",
        ),
        "sources": plots.bars(
            {
                name: [found[each].binary.macro_f1 for each in slices]
                for name, found in systems.items()
            },
            slices,
            "binary macro-F1",
        ),
    }


def words(length: Length) -> str:
    """The lengths of a group, in words."""
    return f"{length.least} to {length.most}" if length.most else f"{length.least} or more"


def _render(template: str, document: Document, images: Mapping[str, str]) -> str:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=select_autoescape(["html.j2"], default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "data": _DATA.__getitem__,
        "ms": lambda value: f"{value:.1f}",
        "percent": _percent,
        "points": _points,
        "probability": _probability,
        "share": _share,
        "words": words,
    }
    return environment.get_template(template).render(
        document=document, report=document.report, images=images, labels=LABELS, everything=ALL
    )


def _percent(estimate: Estimate) -> str:
    """`77.8 (76.1 to 79.4)`: a share in percent with its interval."""
    if estimate.value is None:
        return _UNDEFINED
    return f"{100 * estimate.value:.1f}{_reach(estimate.low, estimate.high)}"


def _points(gap: Difference) -> str:
    """`+8.2 (+6.0 to +10.4)`: a difference in percentage points with its interval."""
    if gap.value is None:
        return _UNDEFINED
    return f"{100 * gap.value:+.1f}{_reach(gap.low, gap.high, '+')}"


def _reach(low: float | None, high: float | None, sign: str = "") -> str:
    if low is None or high is None:
        return ""
    return f" ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"


def _share(value: float) -> str:
    return f"{100 * value:.1f}"


def _probability(value: float | None) -> str:
    """A p-value; one that no drawing reached is below what so many can tell."""
    if value is None:
        return _UNDEFINED
    return f"{value:.3f}" if value >= 0.001 else "under 0.001"


def _reliability(bins: Bins) -> Reliability:
    return Reliability(np.array(bins.counts), np.array(bins.confidence), np.array(bins.accuracy))
