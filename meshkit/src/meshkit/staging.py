"""How a version that was made elsewhere comes into the store, and how one leaves it.

It is filled aside, verified, and moved in; it is moved aside, and deleted there.

A reader of the store sees a version whole or not at all, also when the process that brings it is
killed. What such a process leaves behind lies in `<home>/staging` and is taken up by the next one.
"""

import fcntl
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from meshkit import aliases, store


def folder(home: Path) -> Path:
    """Where versions that are on their way in lie, in the layout of a store of their own."""
    return home / "staging"


def install(home: Path, model: str, version: str, fill: Callable[[Path], None]) -> bool:
    """Brings a version into the store; False when it is there already.

    Several processes may install the same version at once: one does it, the others wait for it.

    Args:
        home: the store's home folder.
        model: name of the model.
        version: the version.
        fill: puts every file of the version into the folder it is given, which may hold what an
            earlier try has left.

    Raises:
        BadAlias: the model or the version is not called as one may be.
        DamagedVersion: what `fill` put there is no version that can be trusted.
    """
    aliases.check_name("model", model)
    aliases.check_name("version", version)
    aside = folder(home)
    filled = aside / "models" / model / version
    target = home / "models" / model / version
    filled.parent.mkdir(parents=True, exist_ok=True)
    with (aside / f"{model}.{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return False
        filled.mkdir(exist_ok=True)
        fill(filled)
        store.open_version(aside, model, version)
        target.parent.mkdir(parents=True, exist_ok=True)
        filled.rename(target)
        # Whoever still waits for it finds the version there.
        Path(lock.name).unlink(missing_ok=True)
    return True


@contextmanager
def changing(home: Path) -> Iterator[None]:
    """Holds the store, so that nothing is removed while an alias is moved to it."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove(home: Path, versions: Iterable[tuple[str, str]]) -> None:
    """Takes versions, each a model and a name, out of a store that the caller holds.

    Each leaves in one step, so a reader never sees a part of it; one that has opened its files
    keeps them.
    """
    aside = folder(home) / "removed"
    aside.mkdir(parents=True, exist_ok=True)
    for model, version in versions:
        place = home / "models" / model / version
        place.rename(aside / f"{model}.{version}.{secrets.token_hex(4)}")
    shutil.rmtree(aside)
