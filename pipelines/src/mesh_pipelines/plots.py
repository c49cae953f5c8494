"""The plots that people look at to judge a classifier, as SVG.

The same figures give the same text, so that a page under version control changes only with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mesh_pipelines.bootstrap import Estimate
from mesh_pipelines.statistics import Reliability
from mesh_pipelines.weighted import Labels

# Okabe and Ito's colours, which people with any colour vision can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_GREY = "#767676"
_STYLE: Any = {
    "axes.grid": True,
    "axes.prop_cycle": f"cycler('color', {list(COLOURS)})",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    # Text stays text: it can be searched, and is drawn in the reader's own font.
    "svg.fonttype": "none",
    "svg.hashsalt": "inference-mesh",
}


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """A precision-recall curve, from the highest threshold to the lowest."""

    precision: Sequence[float]
    recall: Sequence[float]
    area: float


def confusion(matrix: Labels, names: Sequence[str]) -> str:
    """How often each label (row) was taken for each other (column), in counts and row shares."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure, axes = _figure(4.6, 4.0)
    axes.grid(visible=False)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*matrix.shape):
        axes.text(
            column,
            row,
            f"{matrix[row, column]}\n{shares[row, column]:.0%}",
            ha="center",
            va="center",
            color="white" if shares[row, column] > 0.5 else "black",
        )
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("answered")
    axes.set_ylabel("by the raters")
    return _svg(figure)


def reliability(diagrams: Mapping[str, Reliability]) -> str:
    """How often predictions of a certain confidence are right; the diagonal is calibrated."""
    figure, axes = _figure(5.2, 4.0)
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle=":", label="calibrated")
    largest = max(diagram.counts.max() for diagram in diagrams.values())
    for name, diagram in diagrams.items():
        (line,) = axes.plot(diagram.confidence, diagram.accuracy, label=name)
        sizes = 8 + 120 * diagram.counts / largest
        axes.scatter(diagram.confidence, diagram.accuracy, s=sizes, color=line.get_color())
    axes.set_xlim(0.3, 1.01)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("confidence (a larger dot stands for more texts)")
    axes.set_ylabel("share that is right")
    axes.legend(loc="upper left")
    return _svg(figure)


def precision_recall(curves: Mapping[str, PrecisionRecall]) -> str:
    """Precision against recall for each label, with the area under each curve."""
    figure, axes = _figure(5.2, 4.0)
    for name, curve in curves.items():
        label = f"{name} ({curve.area:.3f})"
        axes.plot(curve.recall, curve.precision, label=label)
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.legend(loc="lower left", title="label (area)")
    return _svg(figure)


def bars(series: Mapping[str, Sequence[Estimate]], groups: Sequence[str], measure: str) -> str:
    """A figure with its interval for each group, side by side for each of the series."""
    figure, axes = _figure(max(5.2, 1.1 * len(groups)), 3.6)
    width = 0.8 / len(series)
    places = np.arange(len(groups))
    for index, (name, estimates) in enumerate(series.items()):
        rows = [(each.value, each.low, each.high) for each in estimates]
        values, low, high = np.array(rows, dtype=np.float64).T
        offset = (index - (len(series) - 1) / 2) * width
        axes.bar(
            places + offset,
            values,
            width * 0.9,
            label=name,
            yerr=np.maximum([values - low, high - values], 0),
            error_kw={"ecolor": "#333333", "elinewidth": 1, "capsize": 2},
        )
    axes.grid(visible=False, axis="x")
    axes.set_xticks(places, groups)
    axes.set_ylim(0, 1.03)
    axes.set_ylabel(measure)
    if len(series) > 1:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.17), ncols=len(series))
    return _svg(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots()


def _svg(figure: Figure) -> str:
    """The figure as an `svg` element, without the head of a file of its own."""
    out = StringIO()
    with rc_context(_STYLE):
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
