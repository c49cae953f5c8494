"""Two trainings are the same one only if all they depend on is the same."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mesh_classifier.training.identity import identity_of
from meshkit import cpu

A, B = np.arange(6, dtype=np.float32), np.ones((2, 3), dtype=np.int64)
ARRAYS: dict[str, npt.NDArray[Any]] = {"a": A, "b": B}
SETTINGS = {"learning_rate": 1e-4, "epochs": 4}


def test_equal_content_has_one_identity() -> None:
    again = {name: array.copy() for name, array in reversed(ARRAYS.items())}
    assert identity_of(ARRAYS, ["x"], SETTINGS) == identity_of(again, ["x"], dict(SETTINGS))


@pytest.mark.parametrize(
    "other",
    [
        ({**ARRAYS, "a": A + np.float32(1e-6)}, ["x"], SETTINGS),
        ({**ARRAYS, "a": A.astype(np.float64)}, ["x"], SETTINGS),
        ({**ARRAYS, "b": B.reshape(3, 2)}, ["x"], SETTINGS),
        ({"a": A}, ["x"], SETTINGS),
        (ARRAYS, ["x", "y"], SETTINGS),
        (ARRAYS, ["x"], {**SETTINGS, "epochs": 5}),
    ],
)
def test_a_difference_anywhere_makes_another(other: tuple[Any, ...]) -> None:
    assert identity_of(*other) != identity_of(ARRAYS, ["x"], SETTINGS)


def test_sums_of_floats_depend_on_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity_of(ARRAYS)
    monkeypatch.setattr(cpu, "threads", lambda: 17)
    assert identity_of(ARRAYS) != before
