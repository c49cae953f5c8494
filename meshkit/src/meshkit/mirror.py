"""A copy of the model store at any address that fsspec knows: how other machines see a promotion.

    <url>/models/<model>/<version>/...           the files, as in the store
    <url>/manifests/<model>/<version>.json       what they are; written last
    <url>/aliases/<model>/<alias>/00000001.json  the moves of an alias, as in the store

A version is in the mirror when its manifest is: a push that was killed has written none, and the
next one goes on where it ended. Nothing in the mirror is trusted: what is pulled is checked against
the manifest, and then as every version of the store is.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec

from meshkit import aliases, staging, store
from meshkit.aliases import Alias
from meshkit.mirror_files import Files, MirrorError, open_files, shown
from meshkit.store import DamagedVersion, NoVersion

Progress = Callable[[str, int, int], None]
"""Told of each step: the name of a file, how many of its bytes are there, how many it has."""

_FORMAT: Final = 1
_MAX_MANIFEST_BYTES: Final = 256 * 1024
_CHUNK_BYTES: Final = 8 * 1024 * 1024


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a version."""

    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    bytes: Annotated[int, msgspec.Meta(ge=0)]


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What makes a version complete."""

    format: int
    files: Annotated[dict[str, _File], msgspec.Meta(max_length=1000)]


def _quiet(_name: str, _done: int, _size: int) -> None:
    """Says nothing."""


class Mirror:
    """The copy of a store at one address.

    Args:
        url: a path, `file://...`, `s3://bucket/prefix` or any other URL that fsspec knows.

    Raises:
        MirrorError: nothing here can read such an address.
    """

    def __init__(self, url: str) -> None:
        self.url = shown(url)
        self._files: Files = open_files(url)

    @property
    def exclusive(self) -> bool:
        """Whether of several writers of an alias exactly one wins, wherever they are."""
        return self._files.exclusive

    def models(self) -> list[str]:
        """The models of which the mirror has versions or aliases."""
        found = {*self._files.names("manifests"), *self._files.names("aliases")}
        return sorted(filter(aliases.is_name, found))

    def versions(self, model: str) -> list[str]:
        """The complete versions that the mirror has of a model."""
        aliases.check_name("model", model)
        found = self._files.names(f"manifests/{model}")
        names = [name.removesuffix(".json") for name in found if name.endswith(".json")]
        return list(filter(aliases.is_name, names))

    def push(
        self,
        home: Path,
        model: str,
        version: str,
        *,
        progress: Progress = _quiet,
        again: bool = False,
    ) -> bool:
        """Copies a version of the store into the mirror; False when it was there already.

        Args:
            home: the store's home folder.
            model: name of the model.
            version: the version; it is verified first.
            progress: told of each step.
            again: upload every file, also those that are there with the right size, to mend a
                damaged copy.

        Raises:
            NoVersion, DamagedVersion: the store has no such version, or it can't be trusted.
            MirrorError: the mirror can't be written, or has another version by that name.
        """
        opened = store.open_version(home, model, version)
        paths = {**opened.files, store.MANIFEST: home / "models" / model / version / store.MANIFEST}
        manifest = _Manifest(_FORMAT, {name: _describe(path) for name, path in paths.items()})
        there = self._manifest(model, version)
        if there is not None and there != manifest:
            raise MirrorError(
                f"{self.url} has another {model}:{version}; a version never changes, so train anew"
            )
        if there is not None and not again:
            return False
        for name, file in manifest.files.items():
            path = f"models/{model}/{version}/{name}"
            if again or self._files.size(path) != file.bytes:
                self._files.upload(paths[name], path, _counted(progress, name, file.bytes))
        content = msgspec.json.encode(manifest)
        progress(f"{version}.json", 0, len(content))
        self._files.create(f"manifests/{model}/{version}.json", content)
        return True

    def pull(self, home: Path, model: str, version: str, *, progress: Progress = _quiet) -> bool:
        """Copies a version of the mirror into the store; False when it was there already.

        A pull that was killed is taken up where it ended.

        Args:
            home: the store's home folder.
            model: name of the model.
            version: the version.
            progress: told of each step.

        Raises:
            NoVersion: the mirror has no such version, or not all of it yet.
            DamagedVersion: what the mirror has is not what was pushed; nothing of it stays.
            MirrorError: the mirror can't be read.
        """
        aliases.check_name("model", model)
        aliases.check_name("version", version)
        if (home / "models" / model / version).exists():
            return False
        manifest = self._manifest(model, version)
        if manifest is None:
            raise NoVersion(f"{model}:{version} is not in {self.url}; push it there first")

        def fill(folder: Path) -> None:
            for left in folder.iterdir():
                if left.name not in manifest.files:
                    left.unlink()
            for name, file in manifest.files.items():
                source = f"models/{model}/{version}/{name}"
                self._download(source, folder / name, file, progress)

        return staging.install(home, model, version, fill)

    def alias_names(self, model: str) -> list[str]:
        """The aliases that the mirror has of a model."""
        aliases.check_name("model", model)
        return list(filter(aliases.is_name, self._files.names(f"aliases/{model}")))

    def numbers(self, model: str, name: str) -> list[int]:
        """The numbers of an alias's moves in the mirror, oldest first."""
        aliases.check_name("model", model)
        aliases.check_name("alias", name)
        found = self._files.names(f"aliases/{model}/{name}")
        return sorted(number for file in found if (number := aliases.parse_file_name(file)))

    def create_alias(self, alias: Alias) -> None:
        """Writes a move of an alias, if there is none by its number yet.

        Raises:
            AliasMoved: there is one, of somebody else.
            MirrorError: the mirror can't be written.
        """
        content = alias.to_bytes()
        path = _alias_path(alias.model, alias.name, alias.number)
        if self._files.create(path, content):
            return
        # A first try whose answer was lost may itself be what is there.
        if self._files.read(path, 0, len(content) + 1) != content:
            raise aliases.moved(alias)

    def push_alias(self, home: Path, model: str, name: str) -> int:
        """Copies those moves of an alias that the mirror lacks; says how many.

        Raises:
            AliasMoved: the mirror has other moves; pull them, and decide anew.
            BadAlias: a move is damaged.
            MirrorError: the mirror can't be written.
        """
        there, here = self.numbers(model, name), aliases.numbers(home, model, name)
        if there:
            self._check_same(home, model, name, max(there))
        missing = [number for number in here if number > max(there, default=0)]
        for number in missing:  # in order, as each of them was made
            self.create_alias(aliases.read_number(home, model, name, number))
        return len(missing)

    def pull_alias(
        self, home: Path, model: str, name: str, *, progress: Progress = _quiet
    ) -> Alias | None:
        """Copies the moves of an alias into the store, and first the version that it names now.

        Returns:
            Where it points now, in the store; None when it was never set.

        Raises:
            AliasMoved: the store has moves that contradict the mirror's.
            BadAlias: a move is damaged.
            NoVersion, DamagedVersion: the version it names can't be had from the mirror.
            MirrorError: the mirror can't be read.
        """
        there, here = self.numbers(model, name), aliases.numbers(home, model, name)
        if common := sorted({*there} & {*here}):
            self._check_same(home, model, name, common[-1])
        missing = [self._alias(model, name, number) for number in there if number not in here]
        if missing and missing[-1].number > max(here, default=0):
            self.pull(home, model, missing[-1].version, progress=progress)
        for alias in reversed(missing):  # a reader never sees it pass through earlier places
            aliases.create(home, alias)
        return aliases.read(home, model, name)

    def _check_same(self, home: Path, model: str, name: str, number: int) -> None:
        """Checks that store and mirror agree on a move; moves never change, so on those before."""
        here = number in aliases.numbers(home, model, name)
        if here and aliases.read_number(home, model, name, number) != self._alias(
            model, name, number
        ):
            raise aliases.AliasMoved(
                f"number {number} of {model}@{name} is one thing in {home} and another in "
                f"{self.url}; delete {aliases.folder(home, model, name)} if the mirror is right"
            )

    def _alias(self, model: str, name: str, number: int) -> Alias:
        path = _alias_path(model, name, number)
        content = self._files.read(path, 0, aliases.MAX_BYTES + 1)
        if content is None:
            raise MirrorError(f"{self.url}/{path} is gone; moves of an alias are never deleted")
        return Alias.from_bytes(content, model, name, number, f"{self.url}/{path}")

    def _manifest(self, model: str, version: str) -> _Manifest | None:
        """The manifest of a version; None where there is none."""
        path = f"manifests/{model}/{version}.json"
        content = self._files.read(path, 0, _MAX_MANIFEST_BYTES + 1)
        if content is None:
            return None
        try:
            manifest = msgspec.json.decode(content, type=_Manifest)
        except msgspec.DecodeError as error:
            raise MirrorError(
                f"{self.url}/{path} is damaged ({error}); delete it, push again"
            ) from error
        if manifest.format != _FORMAT:
            raise MirrorError(
                f"{self.url}/{path} has format {manifest.format} and this release reads {_FORMAT}"
            )
        _check_names(manifest.files, f"{self.url}/{path}")
        return manifest

    def _download(self, source: str, target: Path, file: _File, progress: Progress) -> None:
        size = self._files.size(source)
        if size != file.bytes:
            raise DamagedVersion(
                f"{self.url}/{source} has {size} bytes instead of {file.bytes}; push it again with "
                "--again"
            )
        with target.open("ab") as copy:
            if copy.tell() > file.bytes:
                copy.truncate(0)
            while (done := copy.tell()) < file.bytes:
                progress(target.name, done, file.bytes)
                end = min(done + _CHUNK_BYTES, file.bytes)
                chunk = self._files.read(source, done, end)
                if not chunk:
                    raise MirrorError(f"{self.url}/{source} changed meanwhile; pull again")
                copy.write(chunk)
            copy.flush()
            os.fsync(copy.fileno())
        if _describe(target) != file:
            target.unlink()  # the next try begins anew
            raise DamagedVersion(
                f"{self.url}/{source} is not what was pushed: its SHA-256 differs; push it again "
                "with --again"
            )


def _check_names(files: Mapping[str, _File], where: str) -> None:
    for name in files:
        if name != store.MANIFEST and not store.is_file_name(name):
            raise MirrorError(f"{where} names the file {name!r}, which no version has; delete it")


def _describe(path: Path) -> _File:
    with path.open("rb") as file:
        return _File(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)


def _counted(progress: Progress, name: str, size: int) -> Callable[[int], None]:
    """Turns steps into sums."""
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(name, done, size)

    progress(name, 0, size)
    return count


def _alias_path(model: str, name: str, number: int) -> str:
    return f"aliases/{model}/{name}/{aliases.file_name(number)}"
