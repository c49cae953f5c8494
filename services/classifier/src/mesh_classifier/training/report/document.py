"""What pages are made from: the report of a version, its record, and the versions beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from mesh_classifier.training.report import figures
from mesh_classifier.training.report.figures import Report
from mesh_pipelines.errors import PipelineError
from meshkit import store
from meshkit.store import DamagedVersion, Version

# A version beside another one was measured on the same texts: these are the same in both records.
_ALIKE: Final = ("sources",)
_ALIKE_SETTINGS: Final = ("recipe", "seed")


class Sibling(msgspec.Struct, frozen=True):
    """A version that was trained on other texts and measured on the same."""

    version: str
    report: Report


class Document(msgspec.Struct, frozen=True):
    """Everything that the pages say."""

    version: str
    git_commit: str
    settings: dict[str, Any]
    sources: dict[str, dict[str, Any]]
    report: Report
    siblings: list[Sibling]


def gather(home: Path, model: str, version: str) -> Document:
    """Reads a version and those beside it.

    Args:
        home: the model store's home folder.
        model: name of the model.
        version: name of the version.

    Raises:
        PipelineError: the version has no report.
        NoVersion, DamagedVersion: it can't be opened.
    """
    opened = store.open_version(home, model, version)
    report = _report(opened)
    if report is None:
        recipe = opened.record.get("settings", {}).get("recipe")
        raise PipelineError(
            f"{model}:{version} has no report, since its recipe is {recipe}: "
            f"mesh models train {model} makes a version that has one"
        )
    return Document(
        version=version,
        git_commit=opened.record["git_commit"],
        settings=opened.record["settings"],
        sources=opened.record["sources"],
        report=report,
        siblings=_siblings(home, opened, report),
    )


def _siblings(home: Path, version: Version, report: Report) -> list[Sibling]:
    """The newest version for each other kind of data, in the order of their names."""
    found: dict[str, Sibling] = {}
    for name in store.versions(home, version.model):
        try:
            other = store.read_version(home, version.model, name)
            theirs = _report(other) if _alike(version.record, other.record) else None
        except DamagedVersion:
            continue  # `mesh models list` says what is wrong with it
        if theirs and theirs.data != report.data:
            found[theirs.data] = Sibling(name, theirs)  # names of versions begin with their time
    return [found[data] for data in sorted(found)]


def _report(version: Version) -> Report | None:
    if figures.FILE not in version.files:
        return None
    try:
        return figures.read(version.file(figures.FILE))
    except (OSError, msgspec.DecodeError) as error:
        raise DamagedVersion(
            f"{version.file(figures.FILE)} is no report of this release ({error}); train again"
        ) from error


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    settings = (record.get("settings", {}) for record in (one, other))
    ours, theirs = ({key: each.get(key) for key in _ALIKE_SETTINGS} for each in settings)
    return ours == theirs and all(one.get(key) == other.get(key) for key in _ALIKE)
