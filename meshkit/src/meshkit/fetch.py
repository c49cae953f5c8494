"""Brings the version of a model that is wanted from the mirror into the store of this machine.

    python -m meshkit.fetch            once, then it ends: before a service starts
    python -m meshkit.fetch --follow   whenever the alias moves, for as long as it runs: beside it

It serves nothing, and no request waits for it: a service reads its store alone. A version shows in
the store whole or not at all, whenever this process is killed.
"""

import argparse
import errno
import logging
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final, Literal, NoReturn

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from meshkit import aliases, mirror_follow, staging, store
from meshkit.aliases import AliasMoved, BadAlias
from meshkit.errors import StartError
from meshkit.logs import configure_logging
from meshkit.mirror import Mirror, Progress
from meshkit.mirror_follow import FAILURES, LONGEST_WAIT_S
from meshkit.settings import SHARED, EnvironmentSettings
from meshkit.store import DamagedVersion, NoVersion

_FIRST_WAIT_S: Final = 1.0
_TELL_EVERY_S: Final = 5.0
# What no waiting mends.
_UNWRITABLE: Final = frozenset(
    {errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.ENOTDIR, errno.EPERM, errno.EROFS}
)

_log = logging.getLogger("meshkit.fetch")


class Settings(EnvironmentSettings):
    """Read from `MESH_FETCH_...`, shared ones also from `MESH_...`."""

    model_config = SettingsConfigDict(env_prefix="MESH_FETCH_")

    models_url: str = Field(min_length=1, json_schema_extra=SHARED)
    """The mirror: a folder, `s3://bucket/prefix` or any other URL that fsspec knows."""
    models_path: Path = Field(json_schema_extra=SHARED)
    """Home folder of the model store that it is brought to."""
    model: str = Field(min_length=1)
    """Name of the model; in an image it is the service's own where none is given."""
    alias: str = Field(default=aliases.PRODUCTION, min_length=1)
    """Which version: the one that this alias names."""
    version: str | None = Field(default=None, min_length=1)
    """Bring exactly this version, whatever the alias names."""
    interval_s: float = Field(default=5.0, gt=0)
    """Seconds from one look at the mirror to the next, with `--follow`."""
    timeout_s: float = Field(default=300.0, gt=0)
    """Most seconds without progress before it gives up; with `--follow`, before it tries anew."""
    keep_versions: int = Field(default=2, ge=1)
    """Of the versions that the alias has named, so many stay in the store."""
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", json_schema_extra=SHARED
    )
    """Least severe level that is logged."""


def bring(settings: Settings, mirror: Mirror, progress: Progress) -> str:
    """Brings the version that is wanted, where it is not here yet; returns its name.

    Raises:
        NoVersion, DamagedVersion: it can't be had from the mirror.
        AliasMoved, BadAlias: the moves of the alias here and there can't be trusted.
        MirrorError, OSError: the mirror can't be read, or the store can't be written.
    """
    home, model = settings.models_path, settings.model
    if settings.version:
        mirror.pull(home, model, settings.version, progress=progress)
        return settings.version
    target = mirror.pull_alias(home, model, settings.alias, progress=progress)
    if target is None:
        raise NoVersion(
            f"{model}@{settings.alias} was never set in {mirror.url}; promote a version there "
            "(`mesh models promote`), or name one (MESH_FETCH_VERSION)"
        )
    return target.version


def bring_before_start(settings: Settings, mirror: Mirror) -> str:
    """Brings the version that is wanted, or settles for the one that is here; returns its name.

    A mirror that is away is waited for, up to the limit.

    Raises:
        As `bring`.
    """
    with _Patience(settings.timeout_s) as patience:
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                return bring(settings, mirror, patience.progress)
            except FAILURES as error:
                if present := _present(settings):
                    _log.warning("starting with %s, which is here: %s", present, error)
                    return present
                if not _may_mend(error) or patience.left_s <= wait_s:
                    raise
                _log.warning("trying again: %s", error)
            time.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def follow_alias(settings: Settings, mirror: Mirror) -> NoReturn:
    """Brings each version that is wanted as soon as it is, and lets go of those before it."""
    known = ""

    def look() -> None:
        nonlocal known
        with _Patience(settings.timeout_s) as patience:
            version = bring(settings, mirror, patience.progress)
        if version != known:
            _log.info("here is %s:%s", settings.model, version)
            known = version
            if not settings.version:
                prune(settings)

    mirror_follow.follow(look, settings.interval_s, _log.error)


def prune(settings: Settings) -> list[str]:
    """Removes the versions that the alias named before the last few; returns them.

    What another alias names stays, and so does what no alias has ever named.
    """
    home, model = settings.models_path, settings.model
    with staging.changing(home):
        numbers = aliases.numbers(home, model, settings.alias)
        moves = [aliases.read_number(home, model, settings.alias, each) for each in numbers]
        # Each once, the latest first.
        named = list(dict.fromkeys(move.version for move in reversed(moves)))
        kept = {*named[: settings.keep_versions], *_named_by_others(settings)}
        present = store.versions(home, model)
        gone = [version for version in named if version in present and version not in kept]
        staging.remove(home, [(model, version) for version in gone])
    if gone:
        _log.info("removed what is served no more: %s", ", ".join(gone))
    return gone


def _named_by_others(settings: Settings) -> Iterator[str]:
    home, model = settings.models_path, settings.model
    for name in aliases.names(home, model):
        if name != settings.alias and (target := aliases.read(home, model, name)):
            yield target.version


def _present(settings: Settings) -> str | None:
    """The version that the alias names here, if it can be served; a pinned one needs no mirror."""
    if settings.version:
        return None
    try:
        return store.resolve(settings.models_path, settings.model, settings.alias).name
    except (StartError, OSError):
        return None


def _may_mend(error: BaseException) -> bool:
    """Whether waiting may help: for a mirror that is away, and a version that is on its way."""
    if isinstance(error, DamagedVersion | AliasMoved | BadAlias):
        return False
    return not (isinstance(error, OSError) and error.errno in _UNWRITABLE)


class _Patience:
    """Bounds how long nothing comes, whatever the libraries of the mirror do; main thread only."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._until_s = 0.0
        self._told_s = time.monotonic()

    @property
    def left_s(self) -> float:
        """Seconds until it ends."""
        return self._until_s - time.monotonic()

    def __enter__(self) -> "_Patience":
        signal.signal(signal.SIGALRM, self._end)
        self._renew()
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    def progress(self, name: str, done: int, size: int) -> None:
        """Told of each step."""
        self._renew()
        if time.monotonic() - self._told_s >= _TELL_EVERY_S:
            self._told_s = time.monotonic()
            _log.info("bringing %s: %d of %d bytes", name, done, size)

    def _renew(self) -> None:
        self._until_s = time.monotonic() + self._limit_s
        signal.setitimer(signal.ITIMER_REAL, self._limit_s)

    def _end(self, _signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"nothing came within {self._limit_s:g} s; check the mirror's address")


def _reason(error: BaseException, settings: Settings) -> str:
    if isinstance(error, OSError) and error.errno in _UNWRITABLE:
        return (
            f"{settings.models_path} can't be written ({error}); mount a volume there that this "
            "user may write to, with room for the model"
        )
    return str(error)


def _refuse(reason: str) -> NoReturn:
    """Says in one line why it ends."""
    logging.shutdown()  # what was logged before comes first
    sys.stderr.write(f"{reason}\n")
    raise SystemExit(2)


def main() -> None:
    """Runs the command; ends with status 0 once the version is here, with 2 if it can't be had."""
    parser = argparse.ArgumentParser(
        prog="fetch",
        description="Brings the version of a model that is wanted from the mirror into the store.",
    )
    parser.add_argument("--follow", action="store_true", help="go on, and bring each later one")
    follows = parser.parse_args().follow
    # The first process of a container has no default for this signal.
    status = 0 if follows else 128 + signal.SIGTERM
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(status))
    try:
        settings = Settings.load()
    except StartError as error:
        _refuse(str(error))
    configure_logging(settings.log_level, "fetch")
    try:
        mirror = Mirror(settings.models_url)
        if follows:
            follow_alias(settings, mirror)
        version = bring_before_start(settings, mirror)
    except FAILURES as error:
        _refuse(_reason(error, settings))
    _log.info("here is %s:%s", settings.model, version)


if __name__ == "__main__":
    main()
