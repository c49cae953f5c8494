"""The manifest of data sources, `sources.toml`."""

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file inside a package's archive."""

    path: str
    """Its path in the archive, with forward slashes."""
    size: int
    """Its size in bytes."""
    sha256: str
    """The SHA-256 of its content, in hex."""


@dataclass(frozen=True, slots=True)
class Source:
    """Data that one version of one package carries."""

    name: str
    about: str
    package: str
    version: str
    archive: Literal["sdist", "wheel"]
    licence: str
    """SPDX name of the licence of the files, which may differ from the package's own."""
    files: dict[str, SourceFile]
    """The files by the name they get in the cache."""

    def describe(self) -> dict[str, Any]:
        """What a version that is made of it says of it: package, version, licence and hashes."""
        return {
            "package": self.package,
            "version": self.version,
            "licence": self.licence,
            "files": {name: file.sha256 for name, file in self.files.items()},
        }


def load_sources() -> dict[str, Source]:
    """Reads the manifest that is installed with this package; sources by their names."""
    manifest = resources.files("mesh_pipelines").joinpath("sources.toml").read_text("utf-8")
    return {name: _source(name, table) for name, table in tomllib.loads(manifest).items()}


def _source(name: str, table: dict[str, Any]) -> Source:
    files = {file: SourceFile(**entry) for file, entry in table.pop("files").items()}
    return Source(name=name, files=files, **table)
