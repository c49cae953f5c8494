"""Small archives of packages, made in memory, and the manifest entries that describe them."""

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Literal

from mesh_pipelines.sources import Source, SourceFile

PACKAGE = "mesh-sample"
VERSION = "1.0"
SDIST = "mesh_sample-1.0.tar.gz"
WHEEL = "mesh_sample-1.0-py3-none-any.whl"


def sdist(members: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """A gzipped tar of files by their paths; a TarInfo stands for a member that is no file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, member in members.items():
            if isinstance(member, bytes):
                info = tarfile.TarInfo(path)
                info.size = len(member)
                tar.addfile(info, io.BytesIO(member))
            else:
                tar.addfile(member)
    return gzip.compress(packed.getvalue(), mtime=0)


def link(path: str, to: str) -> tarfile.TarInfo:
    """A symbolic link, as a member of a tar."""
    info = tarfile.TarInfo(path)
    info.type = tarfile.SYMTYPE
    info.linkname = to
    return info


def folder(path: str) -> tarfile.TarInfo:
    """A folder, as a member of a tar."""
    info = tarfile.TarInfo(path)
    info.type = tarfile.DIRTYPE
    return info


def wheel(
    members: Mapping[str, bytes | tuple[zipfile.ZipInfo, bytes]],
    compression: int = zipfile.ZIP_DEFLATED,
) -> bytes:
    """A zip of files by their paths."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for path, member in members.items():
            if isinstance(member, bytes):
                archive.writestr(zipfile.ZipInfo(path), member, compression)
            else:
                archive.writestr(*member)
    return packed.getvalue()


def declared(path: str, content: bytes) -> SourceFile:
    """The manifest's entry of a file with this content."""
    return SourceFile(path, len(content), hashlib.sha256(content).hexdigest())


def source(files: Mapping[str, SourceFile], archive: Literal["sdist", "wheel"] = "sdist") -> Source:
    """The manifest's entry of the sample package."""
    return Source("sample", "Made for a test", PACKAGE, VERSION, archive, "MIT", dict(files))
