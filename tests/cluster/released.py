"""The chart as it was released last, and what it is installed with."""

from pathlib import Path
from typing import Final

_RELEASED: Final = Path(__file__).resolve().parent / "released"


def _version(package: Path) -> tuple[int, ...]:
    return tuple(map(int, package.stem.rpartition("-")[2].split(".")))


def last() -> Path:
    """The package with the highest version, made by `helm package`."""
    return max(_RELEASED.glob("inference-mesh-*.tgz"), key=_version)


def values() -> Path:
    """What tests installed that release with: `values.yaml` as it was then."""
    return last().with_suffix(".yaml")
