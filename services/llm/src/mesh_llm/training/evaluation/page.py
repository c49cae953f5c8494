"""The page of an evaluation, in Markdown."""

from math import sqrt
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from mesh_llm.training.evaluation.figures import Evaluation

_TEMPLATE: Final = "page.md.j2"
_Z: Final = 1.96
"""Of 95% of a normal distribution."""


def render(evaluation: Evaluation) -> str:
    """The page."""
    environment = Environment(
        loader=PackageLoader(__package__, "."),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  # Markdown of our own figures
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"share": share, "megabytes": lambda size: f"{size / 1e6:,.0f}"}
    return environment.get_template(_TEMPLATE).render(evaluation=evaluation)


def share(count: int, cases: int) -> str:
    """A share of cases in percent, with its 95% interval by Wilson's score.

    Source: E. B. Wilson, "Probable Inference", JASA 22 (1927).
    """
    part = count / cases
    centre = (part + _Z**2 / (2 * cases)) / (1 + _Z**2 / cases)
    spread = _Z * sqrt(part * (1 - part) / cases + _Z**2 / (4 * cases**2)) / (1 + _Z**2 / cases)
    low, high = max(0.0, centre - spread), min(1.0, centre + spread)
    return f"{100 * part:.0f}% ({100 * low:.0f} to {100 * high:.0f})"
