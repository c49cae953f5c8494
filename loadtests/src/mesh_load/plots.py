"""The pictures of a load."""

from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from mesh_load.steps import Step, best

# Okabe and Ito's colours, which people with any colour vision can tell apart.
_COLOURS: Final = ("#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
_GREY: Final = "#767676"
_MOST_ERRORS: Final = len(_COLOURS)
_OTHERS: Final = "others"
_STYLE: Final[Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": f"cycler('color', {list(_COLOURS)})",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}
_LOAD: Final = "requests asked for, per second"


def draw(steps: Sequence[Step]) -> dict[str, bytes]:
    """The pictures, PNG by the name of its file."""
    pictures = {"latency.png": _latency, "throughput.png": _throughput, "errors.png": _errors}
    found = {}
    with rc_context(_STYLE):
        for name, picture in pictures.items():
            figure = Figure(figsize=(7, 4), dpi=150, layout="constrained")
            picture(figure.add_subplot(), steps)
            content = BytesIO()
            figure.savefig(content, format="png")
            found[name] = content.getvalue()
    return found


def _latency(axes: Axes, steps: Sequence[Step]) -> None:
    rates = _rates(axes, steps)
    for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99")):
        durations = [step.durations.percentile_ms(share) for step in steps]
        axes.plot(rates, durations, marker="o", label=name)
    _mark_best(axes, steps)
    _logarithmic(axes)
    axes.set_ylabel("latency of good answers, ms")
    axes.set_title("Latency by load")
    axes.legend()


def _throughput(axes: Axes, steps: Sequence[Step]) -> None:
    rates = _rates(axes, steps)
    axes.plot(rates, rates, color=_GREY, linestyle="--", label="requests asked for")
    axes.plot(rates, [step.answered_per_s for step in steps], marker="o", label="requests answered")
    axes.plot(rates, [step.texts_per_s for step in steps], marker="s", label="texts classified")
    _mark_best(axes, steps)
    _logarithmic(axes)
    axes.set_ylabel("per second")
    axes.set_title("Throughput by load")
    axes.legend()


def _errors(axes: Axes, steps: Sequence[Step]) -> None:
    places = range(len(steps))
    bottoms = [0.0] * len(steps)
    for error in shown_errors(steps):
        shares = [error_share(step, error, shown_errors(steps)) * 100 for step in steps]
        axes.bar(places, shares, bottom=bottoms, label=error, width=0.6)
        bottoms = [bottom + share for bottom, share in zip(bottoms, shares, strict=True)]
    axes.set_xlim(-0.6, len(steps) - 0.4)
    axes.set_xticks(places, [str(step.rate_per_s) for step in steps])
    axes.set_xlabel(_LOAD)
    axes.set_ylabel("share of requests, %")
    axes.set_title("Errors by load")
    axes.set_ylim(0, max(1.0, *(1.15 * bottom for bottom in bottoms)))
    if any(bottoms):
        axes.legend(title="error", alignment="left", loc="upper left", bbox_to_anchor=(1, 1))
    else:
        axes.text(0.5, 0.5, "no errors", transform=axes.transAxes, ha="center", color=_GREY)


def shown_errors(steps: Sequence[Step]) -> list[str]:
    """The errors that have a colour of their own: the most frequent ones, and what is left."""
    every = sum((step.errors for step in steps), Counter[str]())
    names = [name for name, _ in every.most_common()]
    if len(names) <= _MOST_ERRORS:
        return names
    return [*names[: _MOST_ERRORS - 1], _OTHERS]


def error_share(step: Step, error: str, shown: Sequence[str]) -> float:
    """Share of a step's requests that had an error; `others` are those that are not shown."""
    errors = step.errors
    count = errors[error]
    if error == _OTHERS:
        count = sum(number for name, number in errors.items() if name not in shown)
    return count / max(1.0, step.asked_per_s * step.seconds)


def _rates(axes: Axes, steps: Sequence[Step]) -> list[int]:
    rates = [step.rate_per_s for step in steps]
    axes.set_xscale("log")
    axes.set_xticks(rates, [str(rate) for rate in rates])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(_LOAD)
    return rates


def _mark_best(axes: Axes, steps: Sequence[Step]) -> None:
    held = best(steps)
    if held:
        axes.axvline(held.rate_per_s, color=_GREY, linestyle=":", label="most that held")


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
