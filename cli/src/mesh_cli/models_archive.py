"""A version as one file, to carry it where no mirror reaches.

A zip whose members are stored as they are, in one order, with one date: the same version gives the
same bytes everywhere, and nothing in it can swell when it is unpacked.
"""

import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from mesh_cli import models_catalogue, models_formats
from mesh_cli.failures import Failure
from mesh_cli.models_catalogue import Reference
from mesh_cli.models_formats import BadFile, Sips
from meshkit import staging, store
from meshkit.store import DamagedVersion

MAX_BYTES: Final = 16 * 10**9
"""Largest archive that is imported where the user names no other limit."""

_MAX_FILES: Final = 1000
_DATE: Final = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
_MODE: Final = (stat.S_IFREG | 0o644) << 16
_UNIX: Final = 3
_CHUNK_BYTES: Final = 8 * 1024 * 1024

Note = Callable[[str], None]


def write(home: Path, reference: Reference, target: Path, note: Note) -> int:
    """Writes a version into a new file and returns its size in bytes.

    Raises:
        NoVersion, DamagedVersion: the store has no such version, or it can't be trusted.
        Failure: there is something by the name of the target.
    """
    version = store.open_version(home, reference.model, reference.version)
    folder = home / "models" / reference.model / reference.version
    names = sorted([store.MANIFEST, *version.files])
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with (
            os.fdopen(descriptor, "wb") as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
        ):
            for name in names:
                note(name)
                _add(archive, folder / name, f"{reference.model}/{reference.version}/{name}")
        Path(temporary).chmod(0o644)
        os.link(temporary, target)  # which fails where a rename would replace
    except FileExistsError:
        raise Failure(f"{target} is there already: name another file") from None
    finally:
        Path(temporary).unlink()
    return target.stat().st_size


def read(home: Path, source: Path, note: Note, *, max_bytes: int = MAX_BYTES) -> Reference:
    """Brings the version in an archive into the store.

    Nothing of the archive is believed: its members must be the files of one version and nothing
    else, each with the hash in the version's record and of the format that its name says.

    Raises:
        Failure: the archive is not one that `write` makes, or is larger than `max_bytes`.
        DamagedVersion: what it holds is no version that can be trusted.
    """
    try:
        with source.open("rb") as file:
            _check_size(source, os.fstat(file.fileno()).st_size, max_bytes)
            with zipfile.ZipFile(Sips(file)) as archive:
                reference = _check_members(archive.infolist(), os.fstat(file.fileno()).st_size)
                _install(home, reference, archive, note)
    except (zipfile.BadZipFile, BadFile, NotImplementedError, EOFError) as error:
        raise Failure(f"{source} is no archive of a version: it {_said(error)}") from error
    return reference


def _add(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    member = zipfile.ZipInfo(name, _DATE)
    member.create_system = _UNIX
    member.external_attr = _MODE
    member.file_size = path.stat().st_size
    with path.open("rb") as source, archive.open(member, "w") as target:
        shutil.copyfileobj(source, target, _CHUNK_BYTES)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, BadFile) else f"can't be read ({error})"


def _check_size(source: Path, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise Failure(
            f"{source} has {size} bytes, more than {max_bytes}: raise --max-gb if you trust it"
        )


def _check_members(members: Sequence[zipfile.ZipInfo], size: int) -> Reference:
    """Checks all that an archive says of its members, and says which version they are."""
    if not 1 < len(members) <= _MAX_FILES:
        raise BadFile(f"has {len(members)} files, and a version has 2 to {_MAX_FILES}")
    names = [member.filename.split("/") for member in members]
    model, version = names[0][0], names[0][1] if len(names[0]) > 1 else ""
    for member, parts in zip(members, names, strict=True):
        known = parts[-1] == store.MANIFEST or store.is_file_name(parts[-1])
        if parts[:-1] != [model, version] or not known:
            raise BadFile(f"has the file {member.filename!r}, which is none of {model}/{version}")
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG) or member.is_dir():
            raise BadFile(f"has {member.filename!r} as something else than a plain file")
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise BadFile(f"has {member.filename!r} compressed or encrypted")
    if len({member.filename for member in members}) != len(members):
        raise BadFile("has two files of one name")
    if sum(member.file_size for member in members) > size:
        raise BadFile("has files that overlap")
    return Reference(model, version)


def _install(home: Path, reference: Reference, archive: zipfile.ZipFile, note: Note) -> None:
    model, version = reference.model, reference.version

    def fill(folder: Path) -> None:
        shutil.rmtree(folder)
        folder.mkdir()
        try:
            for member in archive.infolist():
                name = member.filename.rpartition("/")[2]
                note(name)
                with archive.open(member) as content, (folder / name).open("xb") as file:
                    shutil.copyfileobj(content, file, _CHUNK_BYTES)
                    file.flush()
                    os.fsync(file.fileno())
            opened = store.open_version(staging.folder(home), model, version)
            if found := models_formats.faults(opened):
                shown = "; ".join(f"{name} {fault}" for name, fault in found.items())
                raise DamagedVersion(f"{reference} is not brought in: {shown}")
        except BaseException:
            shutil.rmtree(folder)
            raise

    with models_catalogue.told():
        if not staging.install(home, model, version, fill):
            raise Failure(f"{reference} is in the store already")
