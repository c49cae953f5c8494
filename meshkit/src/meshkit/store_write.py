"""Writes model versions into the store, through BentoML, so that its own tools read them.

A version is immutable: its files, and a record of where they come from, in `model.yaml`. Serving processes read
the folder with `meshkit.store` and need no BentoML.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from meshkit.store import FORMAT, SUFFIXES

# What the store itself says of a version; a record can't say otherwise.
_OWN_KEYS: Final = frozenset({"mesh_format", "run", "files"})


class BadVersion(Exception):
    """The files or the record can't become a version."""


def new_run_id() -> str:
    """An id for one training run; it begins with the time in UTC, so that ids sort by age."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def write_version(
    home: Path,
    model: str,
    run: str,
    files: Mapping[str, Path],
    record: Mapping[str, Any],
    labels: Mapping[str, str] | None = None,
) -> str:
    """Saves a version and returns its name, which is the id of the run that made it.

    Args:
        home: the store's home folder (`BENTOML_HOME`); created where it is missing.
        model: name of the model, such as `classifier`.
        run: id of the training run, from `new_run_id`.
        files: the files of the version by the name they get there.
        record: what is known of the version: signature, metrics, sources, settings. JSON types only.
        labels: BentoML's labels, for its own tools to filter by.

    Raises:
        BadVersion: a file has a format that may run code, or the record has a key of the store's own.
        OSError: the version can't be written; nothing of it stays.
    """
    _check(files, record)
    # It would otherwise report every save to its makers.
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    # Imported here: it costs more than a second, and whoever only asks for a run id need not pay.
    from bentoml._internal.models import ModelStore  # noqa: PLC0415
    from bentoml.models import create  # noqa: PLC0415

    metadata = {
        "mesh_format": FORMAT,
        "run": run,
        "files": {name: _sha256(path) for name, path in files.items()},
        **_plain(record),
    }
    store = ModelStore(home / "models")
    (home / "models").mkdir(parents=True, exist_ok=True)
    # The store is named outright: BentoML reads its home from the environment once in a process.
    with create(
        f"{model}:{run}", labels=dict(labels or {}), metadata=metadata, _model_store=store
    ) as version:
        for name, path in files.items():
            shutil.copyfile(path, version.path_of(name))
    return run


def _check(files: Mapping[str, Path], record: Mapping[str, Any]) -> None:
    for name in files:
        if Path(name).name != name or Path(name).suffix not in SUFFIXES:
            allowed = ", ".join(sorted(SUFFIXES))
            raise BadVersion(f"{name} can't be part of a version: use a plain name ending in {allowed}")
    if clash := _OWN_KEYS & record.keys():
        raise BadVersion(f"the store itself writes {', '.join(sorted(clash))}; leave it out of the record")


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which no two places share an object: YAML would write those as references."""
    try:
        copy: dict[str, Any] = json.loads(json.dumps(record, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise BadVersion(f"the record has a value that JSON can't hold: {error}") from error
    return copy


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
