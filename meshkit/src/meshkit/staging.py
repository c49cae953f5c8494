"""How a version that was made elsewhere comes into the store: filled aside, verified, moved in.

A reader of the store sees a version whole or not at all, also when the process that brings it is
killed. What such a process leaves behind lies in `<home>/staging` and is taken up by the next one.
"""

import fcntl
from collections.abc import Callable
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
