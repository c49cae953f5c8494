"""What a model's service asks of a version: `gates.toml` and `golden.toml` in its folder."""

from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from mesh_cli.failures import Failure
from mesh_cli.rooms import room

T = TypeVar("T")
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Some = Annotated[int, msgspec.Meta(ge=1)]


class Margin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much worse than in production a figure may be."""

    worse_by_at_most: NotNegative
    lower_is_better: bool = False


class Load(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The short run through a real server."""

    calls: Some
    callers: Some
    texts_per_call: Some
    """The most; a call has one to so many."""


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bounds of the gates."""

    test_part: list[str]
    """Paths in the record; versions that agree in all of them were measured on the same texts."""
    metrics: dict[str, Margin]
    """By the name of the figure under `metrics` in the record."""
    parity: dict[str, NotNegative]
    """The most that each figure under `parity` may be."""
    batch_invariance: dict[str, dict[str, NotNegative]]
    """By precision, the most that each figure under `batch_invariance` may be."""
    load: Load


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One text whose answer nobody doubts."""

    name: str
    text: Annotated[str, msgspec.Meta(min_length=1)]
    label: str | None = None
    """The label it must get."""
    at_least: dict[str, Share] = {}
    """The least probability of a label."""
    at_most: dict[str, Share] = {}
    """The most probability of a label."""


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The golden set."""

    cases: Annotated[list[Case], msgspec.Meta(min_length=1)]


class Triple(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text with one that means the same, and one that does not: nobody doubts which is which."""

    name: str
    text: Annotated[str, msgspec.Meta(min_length=1)]
    nearer: Annotated[str, msgspec.Meta(min_length=1)]
    farther: Annotated[str, msgspec.Meta(min_length=1)]


class Triples(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The golden set of a model that embeds."""

    cases: Annotated[list[Triple], msgspec.Meta(min_length=1)]


def load_policy(model: str) -> Policy:
    """The bounds of a model's gates.

    Raises:
        Failure: its service has none, or they can't be read.
    """
    return _load(model, "gates.toml", Policy)


def load_golden(model: str) -> Golden:
    """The golden set of a model that labels.

    Raises:
        Failure: its service has none, it can't be read, or a case is named twice or asks nothing.
    """
    golden = _load(model, "golden.toml", Golden)
    _check_names(model, [case.name for case in golden.cases])
    for case in golden.cases:
        if not (case.label or case.at_least or case.at_most):
            raise Failure(f"golden.toml of {model} asks nothing in {case.name!r}: give it a label")
    return golden


def load_triples(model: str) -> Triples:
    """The golden set of a model that embeds.

    Raises:
        Failure: its service has none, it can't be read, or a case is named twice.
    """
    triples = _load(model, "golden.toml", Triples)
    _check_names(model, [case.name for case in triples.cases])
    return triples


def _check_names(model: str, names: list[str]) -> None:
    if twice := [name for name in names if names.count(name) > 1]:
        raise Failure(f"golden.toml of {model} has several cases {twice[0]!r}: rename one")


def _load(model: str, name: str, kind: type[T]) -> T:
    path: Path = room(f"services/{model}").path / name
    try:
        return msgspec.toml.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        raise Failure(
            f"{path} is missing: without it nobody can say when a version of {model} is good enough"
        ) from None
    except msgspec.DecodeError as error:
        raise Failure(f"{path} can't be read: {error}") from error
