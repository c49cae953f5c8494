"""What the model was asked to reach before it was measured, and whether it does."""

from collections.abc import Mapping

from mesh_classifier.training.measure import MAX_FLIPPED, MAX_LOSS, Measured
from mesh_classifier.training.report.figures import ALL, Advantage, Goal, Slice
from mesh_pipelines.bootstrap import Difference

_SLICE = "films"
_LEAST_ADVANTAGE = 0.05
_MAX_CALIBRATION_ERROR = 0.05


def goals(
    slices: Mapping[str, Slice],
    baselines: Mapping[str, Mapping[str, Slice]],
    advantages: Mapping[str, Mapping[str, Advantage]],
    measured: Measured,
) -> list[Goal]:
    """Every goal. INT8 is judged on validation texts, where it was chosen; the rest on the test."""
    better = max(baselines, key=lambda name: baselines[name][_SLICE].binary.macro_f1.value or 0.0)
    ahead = advantages[better][_SLICE].binary_macro_f1
    error = slices[ALL].calibration_error.value
    int8 = measured.invariance["int8"]["flipped_share"]
    losses = ", ".join(
        f"{100 * loss:.1f} points of {name.replace('_', ' ')}"
        for name, loss in measured.losses.items()
    )
    return [
        Goal(
            name=f"binary macro-F1 on {_SLICE} against the better baseline ({better})",
            wanted=f"at least {100 * _LEAST_ADVANTAGE:.0f} points more",
            measured=_points(ahead),
            met=(ahead.value or 0.0) >= _LEAST_ADVANTAGE,
        ),
        Goal(
            name="expected calibration error",
            wanted=f"at most {_MAX_CALIBRATION_ERROR}",
            measured="undefined" if error is None else f"{error:.3f}",
            met=error is not None and error <= _MAX_CALIBRATION_ERROR,
        ),
        Goal(
            name="INT8 as the default",
            wanted=(
                f"at most {100 * MAX_LOSS:.0f} point lost against fp32, and under "
                f"{MAX_FLIPPED:.0%} of labels flipped by neighbours"
            ),
            measured=f"loses {losses}; {int8:.2%} flipped",
            met=measured.default_precision == "int8",
        ),
    ]


def _points(gap: Difference) -> str:
    if gap.value is None or gap.low is None or gap.high is None:
        return "undefined"
    value, low, high = (100 * each for each in (gap.value, gap.low, gap.high))
    return f"{value:+.1f} points ({low:+.1f} to {high:+.1f})"
