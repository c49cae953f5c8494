"""Aliases of model versions, such as `classifier@production`: numbered JSON files beside the store.

Moving an alias creates the file with the next number, and nothing else: a file that exists is never changed. The
creation is exclusive, so of two writers that move the same alias at once one wins and the other is told. The
highest number holds.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

PRODUCTION: Final = "production"

_FILE: Final = re.compile(r"(\d{8})\.json")
# BentoML's rule for names and versions; it also keeps them inside their folder.
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_MAX_BYTES: Final = 64 * 1024


class BadAlias(Exception):
    """A name is not one an alias may have, or the file of an alias is not as we write it."""


class AliasMoved(Exception):
    """Another writer moved the alias first; read it again and decide anew."""


@dataclass(frozen=True, slots=True)
class Alias:
    """Where an alias points since its last move."""

    model: str
    name: str
    number: int
    """1 for the first place it pointed to, one more at each move."""
    version: str
    created: str
    """When it was moved there: UTC, ISO 8601."""
    reason: str


def read(home: Path, model: str, name: str = PRODUCTION) -> Alias | None:
    """Where an alias points now; None when it was never set.

    Args:
        home: the store's home folder (`BENTOML_HOME`).
        model: name of the model.
        name: name of the alias.

    Raises:
        BadAlias: its newest file is damaged.
    """
    folder = _folder(home, model, name)
    number = max(_numbers(folder), default=0)
    return _parse(folder / _file_name(number), model, name, number) if number else None


def write(
    home: Path,
    model: str,
    version: str,
    *,
    name: str = PRODUCTION,
    replaces: Alias | None,
    reason: str = "",
) -> Alias:
    """Points an alias at a version, if it still points where the caller last saw it.

    Args:
        home: the store's home folder (`BENTOML_HOME`).
        model: name of the model.
        version: the version it shall name.
        name: name of the alias.
        replaces: what `read` returned when the caller decided.
        reason: why, for who reads it later.

    Raises:
        AliasMoved: it was moved since.
        BadAlias: a name is not one an alias or version may have.
        OSError: the file can't be written.
    """
    _check_name("version", version)
    folder = _folder(home, model, name)
    number = replaces.number + 1 if replaces else 1
    created = datetime.now(UTC).isoformat(timespec="seconds")
    alias = Alias(model, name, number, version, created, reason)
    folder.mkdir(parents=True, exist_ok=True)
    if not _create(folder / _file_name(number), json.dumps(asdict(alias), indent=2) + "\n"):
        raise AliasMoved(
            f"{model}@{name} was moved by somebody else meanwhile; look where it points and try again"
        )
    return alias


def _create(path: Path, content: str) -> bool:
    """Creates a file whole; False when there is one by that name already."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # A temporary file is private; the processes that serve may run as another user.
        os.chmod(temporary, 0o644)  # noqa: S103  # nothing in it is secret
        # A link fails where a rename would replace, and the name never shows half a file.
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    return True


def _parse(path: Path, model: str, name: str, number: int) -> Alias:
    try:
        with path.open("rb") as file:
            record = json.loads(file.read(_MAX_BYTES))
        alias = Alias(**record)
    except (ValueError, TypeError, RecursionError) as error:
        raise BadAlias(f"{path} is damaged ({error}); restore it, or delete it to fall back") from error
    named = (alias.model, alias.name, alias.number)
    texts = (alias.version, alias.created, alias.reason)
    if named != (model, name, number) or not all(isinstance(text, str) for text in texts):
        raise BadAlias(f"{path} describes another alias; restore it, or delete it to fall back")
    _check_name("version", alias.version)
    return alias


def _numbers(folder: Path) -> Iterator[int]:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if match := _FILE.fullmatch(path.name):
            yield int(match[1])


def _folder(home: Path, model: str, name: str) -> Path:
    _check_name("model", model)
    _check_name("alias", name)
    return home / "aliases" / model / name


def _file_name(number: int) -> str:
    return f"{number:08d}.json"


def _check_name(what: str, value: str) -> None:
    if not _NAME.fullmatch(value):
        raise BadAlias(
            f"{what} {value!r} is not a name: use 1 to 63 of a-z, 0-9, '.', '_', '-', "
            "starting and ending with a letter or digit"
        )
