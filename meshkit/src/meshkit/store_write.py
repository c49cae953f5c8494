"""Writes model versions into the store, through BentoML, so that its own tools read them.

A version is immutable: its files, and a record of where they come from, in `model.yaml`. Serving
processes read the folder with `meshkit.store` and need no BentoML.
"""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import warnings
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
        record: what is known of the version: metrics, sources, settings. JSON types but null.
        labels: BentoML's labels, for its own tools to filter by.

    Raises:
        BadVersion: a file's format may run code, the record has a key of the store's own, or there
            is such a version.
        OSError: the version can't be written; nothing of it stays.
    """
    _check(files, record)
    folder = home / "models" / model / run
    if folder.exists():
        raise BadVersion(f"{model}:{run} is in the store already, and a version never changes")
    metadata = {
        "mesh_format": FORMAT,
        "run": run,
        "files": {name: _sha256(path) for name, path in files.items()},
        **_plain(record),
    }
    try:
        _save(home / "models", f"{model}:{run}", files, metadata, labels or {})
    except BaseException as error:  # also an interrupt: half a version is of no use
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, shutil.Error):
            raise _first_of(error) from error
        if isinstance(error, ValueError):
            raise BadVersion(f"BentoML refuses the record: {error}") from error
        raise
    return run


def _save(
    models: Path,
    tag: str,
    files: Mapping[str, Path],
    metadata: Mapping[str, Any],
    labels: Mapping[str, str],
) -> None:
    # It would otherwise report every save to its makers.
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    with warnings.catch_warnings():
        # Of what BentoML imports, and nothing that a caller could mend.
        warnings.simplefilter("ignore", DeprecationWarning)
        # Imported here: it costs more than a second, which who asks for a run id need not pay.
        from bentoml._internal.models import ModelStore  # noqa: PLC0415
        from bentoml.models import create  # noqa: PLC0415

    models.mkdir(parents=True, exist_ok=True)
    # The store is named outright: BentoML reads its home from the environment once in a process.
    store = ModelStore(models)
    with create(tag, labels=dict(labels), metadata=dict(metadata), _model_store=store) as version:
        # It starts as a private folder; those who serve may run as another user.
        Path(version.path).chmod(0o755)
        for name, path in files.items():
            shutil.copyfile(path, version.path_of(name))


def _first_of(error: shutil.Error) -> OSError:
    """One reason why a folder could not be copied, with its number where it has one."""
    source, target, reason = error.args[0][0]
    number = re.match(r"\[Errno (\d+)\]", reason)
    return OSError(int(number[1]) if number else errno.EIO, f"can't copy {source}", target)


def _check(files: Mapping[str, Path], record: Mapping[str, Any]) -> None:
    for name in files:
        if Path(name).name != name or Path(name).suffix not in SUFFIXES:
            allowed = ", ".join(sorted(SUFFIXES))
            raise BadVersion(
                f"{name} can't be part of a version: use a plain name ending in {allowed}"
            )
    if clash := _OWN_KEYS & record.keys():
        raise BadVersion(
            f"the store itself writes {', '.join(sorted(clash))}; leave it out of the record"
        )


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
