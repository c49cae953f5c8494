"""Aliases of model versions, such as `classifier@production`: numbered JSON files beside the store.

Moving an alias creates the file with the next number, and nothing else: a file that exists is never
changed. The creation is exclusive, so of two writers that move the same alias at once one wins and
the other is told. The highest number holds.
"""

import json
import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

PRODUCTION: Final = "production"

_FILE: Final = re.compile(r"(\d{8})\.json")
# BentoML's rule for names and versions; it also keeps them inside their folder.
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
MAX_BYTES: Final = 64 * 1024


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
    author: str = ""
    """Who moved it; empty where a program did so by itself."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What else is kept of the move, such as what was checked before it. JSON types only."""
    id: str = ""
    """Random, so that no two moves are equal."""

    def to_bytes(self) -> bytes:
        """The content of its file."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes, model: str, name: str, number: int, where: str) -> "Alias":
        """The inverse of `to_bytes`, for the file of one move of one alias.

        Args:
            content: of the file.
            model: name of the model.
            name: name of the alias.
            number: the number in the file's name.
            where: what messages call the file.

        Raises:
            BadAlias: the content is damaged or of another alias.
        """
        try:
            alias = cls(**json.loads(content))
        except (ValueError, TypeError, RecursionError) as error:
            raise BadAlias(
                f"{where} is damaged ({error}); restore it, or delete it to fall back"
            ) from error
        texts = (alias.version, alias.created, alias.reason, alias.author, alias.id)
        typed = all(isinstance(text, str) for text in texts) and isinstance(alias.details, dict)
        if (alias.model, alias.name, alias.number) != (model, name, number) or not typed:
            raise BadAlias(
                f"{where} describes another alias; restore it, or delete it to fall back"
            )
        check_name("version", alias.version)
        return alias


def read(home: Path, model: str, name: str = PRODUCTION) -> Alias | None:
    """Where an alias points now; None when it was never set.

    Args:
        home: the store's home folder (`BENTOML_HOME`).
        model: name of the model.
        name: name of the alias.

    Raises:
        BadAlias: its newest file is damaged.
    """
    known = numbers(home, model, name)
    return read_number(home, model, name, known[-1]) if known else None


def read_number(home: Path, model: str, name: str, number: int) -> Alias:
    """One move of an alias.

    Raises:
        BadAlias: its file is damaged.
        OSError: its file can't be read.
    """
    path = folder(home, model, name) / file_name(number)
    with path.open("rb") as file:
        content = file.read(MAX_BYTES)
    return Alias.from_bytes(content, model, name, number, str(path))


def numbers(home: Path, model: str, name: str = PRODUCTION) -> list[int]:
    """The numbers of an alias's moves, oldest first; the last one holds.

    Raises:
        BadAlias: a name is not one that an alias may have.
    """
    place = folder(home, model, name)
    if not place.is_dir():
        return []
    return sorted(number for path in place.iterdir() if (number := parse_file_name(path.name)))


def names(home: Path, model: str) -> list[str]:
    """The aliases of a model that point anywhere, by name."""
    check_name("model", model)
    place = home / "aliases" / model
    if not place.is_dir():
        return []
    found = sorted(path.name for path in place.iterdir() if is_name(path.name))
    return [name for name in found if numbers(home, model, name)]


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
    alias = following(replaces, model, version, name=name, reason=reason)
    create(home, alias)
    return alias


def promote_first(home: Path, model: str, version: str) -> bool:
    """Makes a version the production one if there is none yet; says whether it did.

    Raises:
        BadAlias: as `write`.
        OSError: as `write`.
    """
    if read(home, model) is not None:
        return False
    try:
        write(home, model, version, replaces=None, reason="the first version")
    except AliasMoved:
        return False  # another one was first
    return True


def following(
    replaces: Alias | None,
    model: str,
    version: str,
    *,
    name: str = PRODUCTION,
    reason: str = "",
    author: str = "",
    details: Mapping[str, Any] | None = None,
) -> Alias:
    """The move that comes after `replaces` (None for the first), not yet written anywhere."""
    number = replaces.number + 1 if replaces else 1
    created = datetime.now(UTC).isoformat(timespec="seconds")
    unlike = secrets.token_hex(8)
    return Alias(model, name, number, version, created, reason, author, details or {}, unlike)


def create(home: Path, alias: Alias) -> None:
    """Writes a move, if there is none by its number yet.

    Raises:
        AliasMoved: there is one.
        BadAlias: a name is not one an alias or version may have, or it is too large to be read.
        OSError: the file can't be written.
    """
    check_name("version", alias.version)
    place = folder(home, alias.model, alias.name)
    content = alias.to_bytes()
    if len(content) > MAX_BYTES:
        raise BadAlias(f"the record of a move has {len(content)} bytes, more than {MAX_BYTES}")
    place.mkdir(parents=True, exist_ok=True)
    if not create_file(place / file_name(alias.number), content):
        raise moved(alias)


def moved(alias: Alias) -> AliasMoved:
    """What to tell the writer that came second."""
    return AliasMoved(
        f"{alias.model}@{alias.name} was moved by somebody else meanwhile; look where it points "
        "and try again"
    )


def create_file(path: Path, content: bytes) -> bool:
    """Creates a file whole; False when there is one by that name already."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # A temporary file is private; the processes that serve may run as another user.
        Path(temporary).chmod(0o644)
        # A link fails where a rename would replace, and the name never shows half a file.
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        Path(temporary).unlink()
    return True


def folder(home: Path, model: str, name: str) -> Path:
    """Where the moves of an alias lie."""
    check_name("model", model)
    check_name("alias", name)
    return home / "aliases" / model / name


def file_name(number: int) -> str:
    """The name of the file of one move."""
    return f"{number:08d}.json"


def parse_file_name(name: str) -> int | None:
    """The inverse of `file_name`; None for a name of something else."""
    match = _FILE.fullmatch(name)
    return int(match[1]) if match else None


def is_name(value: str) -> bool:
    """Whether a model, a version or an alias may be called so."""
    return bool(_NAME.fullmatch(value))


def check_name(what: str, value: str) -> None:
    """Checks a name of a model, a version or an alias.

    Raises:
        BadAlias: it is none; such a name could also lead out of the store.
    """
    if not is_name(value):
        raise BadAlias(
            f"{what} {value!r} is not a name: use 1 to 63 of a-z, 0-9, '.', '_', '-', "
            "starting and ending with a letter or digit"
        )
