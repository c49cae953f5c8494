"""The page about a load."""

from collections.abc import Iterable, Sequence
from typing import Final

from mesh_load.profile import kinds
from mesh_load.settings import Settings
from mesh_load.steps import LEAST_ASKED, MOST_ERRORS, Step, best
from mesh_load.texts import REPEATED_SHARE

BUSY: Final = 0.85
"""Share of a CPU from which a process of the load may itself be what is slow."""


def report(settings: Settings, steps: Sequence[Step]) -> str:
    """The page, in Markdown.

    Args:
        settings: of the load.
        steps: that were made, in their order.
    """
    parts = [
        f"# Load on {settings.url}",
        _verdict(steps),
        "![Latency by load](latency.png)",
        "![Throughput by load](throughput.png)",
        "![Errors by load](errors.png)",
        "## Steps",
        _steps(steps),
        *_maker(settings, steps),
        *_by_kind(steps),
        *_errors(steps),
        "## The mix",
        _mix(settings),
    ]
    return "\n\n".join(parts) + "\n"


def sentence(step: Step) -> str:
    """A step in a line."""
    found = step.durations
    return (
        f"{step.rate_per_s:>6}/s: answered {step.answered_per_s:.0f}/s "
        f"({step.texts_per_s:.0f} texts/s), p50 {found.percentile_ms(0.5):.0f} ms, "
        f"p99 {found.percentile_ms(0.99):.0f} ms, errors {step.error_share:.1%}"
    )


def _verdict(steps: Sequence[Step]) -> str:
    held = best(steps)
    if held is None:
        return "Not even the first step held: begin with fewer requests a second."
    said = (
        f"It held **{held.rate_per_s} requests a second** ({held.texts_per_s:.0f} texts a second) "
        f"with a p99 of {held.durations.percentile_ms(0.99):.0f} ms and "
        f"{held.error_share:.1%} errors"
    )
    if held is steps[-1]:
        return f"{said}, and was not asked for more."
    over = steps[steps.index(held) + 1]
    return (
        f"{said}. It did not hold {over.rate_per_s}: {over.answered_per_s:.0f} were answered, with "
        f"a p99 of {over.durations.percentile_ms(0.99):.0f} ms and {over.error_share:.1%} errors."
    )


def _steps(steps: Sequence[Step]) -> str:
    rows = [
        (
            f"{step.rate_per_s}",
            f"{step.asked_per_s:.1f}",
            f"{step.answered_per_s:.1f}",
            f"{step.texts_per_s:.0f}",
            *(f"{step.durations.percentile_ms(share):.1f}" for share in (0.5, 0.95, 0.99)),
            f"{step.error_share:.1%}",
            "yes" if step.held else "no",
            f"{step.maker_cpu:.0%}",
        )
        for step in steps
    ]
    head = (
        *("planned/s", "asked/s", "answered/s", "texts/s", "p50, ms", "p95, ms", "p99, ms"),
        *("errors", "held", "CPU of the load"),
    )
    return (
        f"{_table(head, rows)}\n\n"
        f"Of each step {steps[0].seconds if steps else 0} s count. Latencies are of good answers. "
        f"A step holds where at least {LEAST_ASKED:.0%} of what was planned came to an end, and at "
        f"most {MOST_ERRORS:.0%} of it badly; callers that wait too long ask less than planned."
    )


def _maker(settings: Settings, steps: Sequence[Step]) -> list[str]:
    if all(step.maker_cpu < BUSY for step in steps):
        return []
    return [
        "**The load itself was short of CPU**: what is slow may be the load and not the mesh. Use "
        f"more processes than {settings.processes} (`MESH_LOAD_PROCESSES`), on another machine "
        "than the mesh's."
    ]


def _by_kind(steps: Sequence[Step]) -> list[str]:
    shown = best(steps) or (steps[0] if steps else None)
    if shown is None:
        return []
    rows = [
        (
            name,
            f"{answers.good.count / shown.seconds:.1f}",
            *(f"{answers.good.percentile_ms(share):.1f}" for share in (0.5, 0.95, 0.99)),
            f"{answers.errors.total()}",
        )
        for name, answers in sorted(shown.kinds.items())
    ]
    head = ("kind", "answered/s", "p50, ms", "p95, ms", "p99, ms", "errors")
    return [f"## By kind, at {shown.rate_per_s} requests a second", _table(head, rows)]


def _errors(steps: Sequence[Step]) -> list[str]:
    rows = [
        (f"{step.rate_per_s}", error, f"{count}")
        for step in steps
        for error, count in step.errors.most_common()
    ]
    if not rows:
        return ["## Errors", "None."]
    return ["## Errors", _table(("planned/s", "error", "how often"), rows)]


def _mix(settings: Settings) -> str:
    mix = kinds(grpc=settings.grpc_url is not None)
    total = sum(kind.share for kind in mix)
    rows = [(kind.name, f"{kind.share / total:.0%}") for kind in mix]
    without = " Nothing is asked over gRPC: `MESH_LOAD_GRPC_URL` is unset."
    return (
        f"{_table(('kind', 'share'), rows)}\n\n"
        f"{REPEATED_SHARE:.0%} of the texts come again, the others never do. A bad request is "
        f"right when it is refused with 400.{'' if settings.grpc_url else without}"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
