"""What the model store has: its models, their versions, and where their aliases have pointed."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mesh_cli.failures import Failure
from meshkit import aliases, store
from meshkit.aliases import Alias, AliasMoved, BadAlias

_REFERENCE = re.compile(r"([^:@]+)(?:([:@])([^:@]+))?")


@dataclass(frozen=True)
class Reference:
    """A version that a user named."""

    model: str
    version: str
    alias: str | None = None
    """The alias it was named by; None for a version named outright."""

    def __str__(self) -> str:
        return f"{self.model}:{self.version}"


@dataclass(frozen=True)
class Entry:
    """One folder of the store that is, or should be, a version."""

    model: str
    version: str
    created: datetime
    """When it was saved; of one that can't be read, when its folder last changed."""
    bytes: int
    aliases: tuple[str, ...]
    """The aliases that name it now."""
    record: Mapping[str, Any]
    fault: str = ""
    """Why it is no version that can be served; empty for one that may be."""


def value_at(record: Mapping[str, Any], path: str) -> Any:
    """What a record has at a path such as `settings.recipe`; None where it has nothing there."""
    value: Any = record
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


@contextmanager
def told() -> Iterator[None]:
    """Turns what is wrong with an alias into a line for the user."""
    try:
        yield
    except (BadAlias, AliasMoved) as error:
        raise Failure(str(error)) from error


def models(home: Path) -> list[str]:
    """The models of which the store has versions or aliases."""
    folders = [path for kind in ("models", "aliases") for path in (home / kind).glob("*/")]
    return sorted({path.name for path in folders if path.is_dir()})


def find(home: Path, text: str) -> Reference:
    """The version that a user means: `classifier:VERSION`, `classifier@production`, `classifier`.

    A version may be cut short as long as it stays unmistakable; a model alone means the version in
    production.

    Raises:
        Failure: the store has no such version, or several that begin so.
    """
    match = _REFERENCE.fullmatch(text)
    if not match:
        raise Failure(f"{text!r} names no version: write classifier:VERSION or classifier@ALIAS")
    model, separator, name = match[1], match[2], match[3]
    with told():
        aliases.check_name("model", model)
    if separator == ":":
        return Reference(model, _whole(home, model, name))
    return Reference(model, named_by(home, model, name or aliases.PRODUCTION).version, name)


def named_by(home: Path, model: str, alias: str) -> Alias:
    """Where an alias points now.

    Raises:
        Failure: it was never set, or is damaged.
    """
    with told():
        target = aliases.read(home, model, alias)
        if target is None:
            known = ", ".join(aliases.names(home, model)) or "none"
            raise Failure(
                f"{model}@{alias} was never set in {home} (aliases of {model}: {known}); "
                f"mesh models list shows what there is"
            )
    return target


def history(home: Path, model: str, alias: str) -> list[Alias]:
    """Every move of an alias, oldest first.

    Raises:
        Failure: one is damaged.
    """
    with told():
        numbers = aliases.numbers(home, model, alias)
        return [aliases.read_number(home, model, alias, number) for number in numbers]


def alias_names(home: Path, model: str) -> list[str]:
    """The aliases of a model."""
    with told():
        return aliases.names(home, model)


def entries(home: Path, model: str) -> list[Entry]:
    """Every version of a model, newest first, also those that can't be served.

    Raises:
        Failure: an alias is damaged.
    """
    named: dict[str, list[str]] = {}
    for alias in alias_names(home, model):
        named.setdefault(named_by(home, model, alias).version, []).append(alias)
    folders = [path for path in (home / "models" / model).glob("*/") if path.is_dir()]
    found = [_entry(home, path, tuple(named.get(path.name, ()))) for path in folders]
    return sorted(found, key=lambda entry: (entry.created, entry.version), reverse=True)


def _entry(home: Path, folder: Path, named_by: tuple[str, ...]) -> Entry:
    model, name = folder.parent.name, folder.name
    size = sum(path.lstat().st_size for path in folder.iterdir())
    try:
        version = store.read_version(home, model, name)
        created = datetime.fromisoformat(version.created).astimezone(UTC)
    except (store.DamagedVersion, ValueError) as error:
        changed = datetime.fromtimestamp(folder.lstat().st_mtime, UTC)
        return Entry(model, name, changed, size, named_by, {}, str(error))
    return Entry(model, name, created, size, named_by, version.record)


def _whole(home: Path, model: str, beginning: str) -> str:
    folders = (home / "models" / model).glob("*/")
    found = sorted(path.name for path in folders if path.name.startswith(beginning))
    if beginning in found:
        return beginning
    if len(found) > 1:
        raise Failure(f"{model}:{beginning} may be {' or '.join(found)}: write more of it")
    if not found:
        raise Failure(
            f"{model}:{beginning} is not in the store {home}: mesh models list shows what is, "
            "mesh models pull brings what the mirror has"
        )
    return found[0]
