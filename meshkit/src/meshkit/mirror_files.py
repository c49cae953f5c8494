"""Where a mirror can be: in a folder, in an object store, or on any other file system of fsspec.

What the three promise, and `meshkit.mirror` builds on: a file under its name is whole, and a name
is created at most once. The last holds among all writers for folders (a link fails where there is a
file) and for object stores (a conditional write); elsewhere two writers of the same moment may both
believe that they were first.
"""

import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from meshkit.aliases import create_file
from meshkit.errors import StartError

Progress = Callable[[int], None]
"""Told how many bytes more have been copied."""

# Their libraries take a condition for a write (`If-None-Match: *` on S3); they keep a file whole or
# not at all, and have no folders to make.
_OBJECT_STORES: Final = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"})
_CHUNK_BYTES: Final = 8 * 1024 * 1024
# An upload that has not ended after this long was killed.
_ABANDONED_S: Final = 24 * 3600


class MirrorError(StartError):
    """The mirror can't be read or written, or holds what can't be; the message says what to do."""


class Files(Protocol):
    """Files under one address, named by paths relative to it."""

    exclusive: bool
    """Whether `create` is exclusive among all writers."""

    def names(self, folder: str) -> list[str]:
        """What lies directly in a folder; nothing where there is none."""

    def size(self, path: str) -> int | None:
        """The size of a file in bytes; None where there is none."""

    def read(self, path: str, start: int, end: int) -> bytes | None:
        """The bytes of a file from `start` up to `end` or its own end; None where there is none."""

    def upload(self, source: Path, path: str, progress: Progress) -> None:
        """Puts a file there; it shows under its name once it is whole."""

    def create(self, path: str, content: bytes) -> bool:
        """Puts a small file there; False, and nothing done, where there is one already."""


def open_files(url: str) -> Files:
    """The files at an address: a path, `file://...`, or any URL that fsspec knows.

    Raises:
        MirrorError: nothing here can read such an address.
    """
    if "://" not in url or url.startswith("file://"):
        path = Path(url.removeprefix("file://")).expanduser()
        if not path.is_absolute():
            raise MirrorError(f"{url} is a relative path; give an absolute one, or a URL")
        return Folder(path)
    # Imported here: a mirror in a folder needs none of it.
    import fsspec  # type: ignore[import-untyped]  # noqa: PLC0415  # it carries no types

    try:
        system, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise MirrorError(
            f"{shown(url)} can't be opened ({error}); install the package that it names beside "
            "fsspec (s3fs for s3://), or use another URL"
        ) from error
    protocol = system.protocol if isinstance(system.protocol, str) else system.protocol[0]
    kind = ObjectStore if protocol in _OBJECT_STORES else FileServer
    return kind(system, root, shown(url))


def shown(url: str) -> str:
    """An address without the user and the password that may stand in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


class Folder:
    """Files in a folder of this machine or one mounted here."""

    exclusive = True

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self, folder: str) -> list[str]:
        """See `Files`."""
        place = self._root / folder
        return sorted(path.name for path in place.iterdir()) if place.is_dir() else []

    def size(self, path: str) -> int | None:
        """See `Files`."""
        place = self._root / path
        return place.stat().st_size if place.is_file() else None

    def read(self, path: str, start: int, end: int) -> bytes | None:
        """See `Files`."""
        try:
            with (self._root / path).open("rb") as file:
                file.seek(start)
                return file.read(end - start)
        except FileNotFoundError:
            return None

    def upload(self, source: Path, path: str, progress: Progress) -> None:
        """See `Files`."""
        target = self._root / path
        unfinished = self._root / "uploading"
        for folder in (target.parent, unfinished):
            folder.mkdir(parents=True, exist_ok=True)
        _sweep(unfinished)
        descriptor, temporary = tempfile.mkstemp(dir=unfinished)
        with os.fdopen(descriptor, "wb") as copy, source.open("rb") as original:
            while chunk := original.read(_CHUNK_BYTES):
                copy.write(chunk)
                progress(len(chunk))
            copy.flush()
            os.fsync(copy.fileno())
        # A temporary file is private; whoever pulls may be another user.
        Path(temporary).chmod(0o644)
        Path(temporary).rename(target)

    def create(self, path: str, content: bytes) -> bool:
        """See `Files`."""
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return create_file(target, content)


def _sweep(folder: Path) -> None:
    """Removes what killed uploads have left."""
    for path in folder.iterdir():
        try:
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                path.unlink()
        except FileNotFoundError:  # another upload has ended, or swept first
            continue


class _Remote:
    """What object stores and file servers have in common."""

    def __init__(self, system: Any, root: str, url: str) -> None:
        self._system = system
        self._root = root.rstrip("/")
        self._url = url

    def names(self, folder: str) -> list[str]:
        """See `Files`."""
        with self._told("listed"):
            # Listings are cached for as long as the process lives.
            self._system.invalidate_cache()
            try:
                found = self._system.ls(self._path(folder), detail=False)
            except FileNotFoundError:
                return []
        return sorted({str(name).rstrip("/").rpartition("/")[2] for name in found} - {""})

    def size(self, path: str) -> int | None:
        """See `Files`."""
        with self._told("read"):
            self._system.invalidate_cache()
            try:
                size: int = self._system.info(self._path(path))["size"]
            except FileNotFoundError:
                return None
        return size

    def read(self, path: str, start: int, end: int) -> bytes | None:
        """See `Files`."""
        with self._told("read"):
            try:
                content: bytes = self._system.cat_file(self._path(path), start=start, end=end)
            except FileNotFoundError:
                return None
        return content

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _put(self, source: Path, path: str, progress: Progress) -> None:
        from fsspec.callbacks import Callback  # type: ignore[import-untyped]  # noqa: PLC0415

        class Told(Callback):  # type: ignore[misc]  # its base carries no types
            def relative_update(self, inc: int = 1) -> None:
                progress(inc)

        self._system.put_file(str(source), self._path(path), callback=Told())

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # the libraries' errors share no narrower base
            raise MirrorError(
                f"{self._url} can't be {what} ({error}); check the address and the credentials"
            ) from error


class ObjectStore(_Remote):
    """Files in an object store: each is written at once or not at all."""

    exclusive = True

    def upload(self, source: Path, path: str, progress: Progress) -> None:
        """See `Files`."""
        with self._told("written"):
            self._put(source, path, progress)

    def create(self, path: str, content: bytes) -> bool:
        """See `Files`."""
        try:
            with self._told("written"):
                self._system.pipe_file(self._path(path), content, mode="create")
        except MirrorError:
            # Libraries report that the name was taken, or that two writers collide, in many ways.
            if self.size(path) is None:
                raise
            return False
        return True


class FileServer(_Remote):
    """Files of any other file system: written aside and renamed, since nothing else is sure."""

    exclusive = False

    def upload(self, source: Path, path: str, progress: Progress) -> None:
        """See `Files`."""
        folder, _, name = path.rpartition("/")
        aside = f"{folder}/.{name}.{secrets.token_hex(4)}"
        with self._told("written"):
            self._system.makedirs(self._path(folder), exist_ok=True)
            self._put(source, aside, progress)
            self._system.mv(self._path(aside), self._path(path))

    def create(self, path: str, content: bytes) -> bool:
        """See `Files`."""
        if self.size(path) is not None:
            return False
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "content"
            source.write_bytes(content)
            self.upload(source, path, lambda _: None)
        # Of two that came at once the later one has replaced the other's.
        return self.read(path, 0, len(content) + 1) == content
