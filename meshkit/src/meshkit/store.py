"""Reads model versions: immutable folders in BentoML's layout, opened without BentoML.

    <home>/models/<model>/<version>/model.yaml   BentoML's, with our record under `metadata`
    <home>/models/<model>/<version>/...          the files that the record names, with their hashes
    <home>/aliases/<model>/<alias>/...           where an alias points (`meshkit.aliases`)

Nothing here trusts the folder: the record is checked, each file it names must be a plain file of a
format that holds data only, inside the folder, with the hash that was written when it was saved.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yaml

from meshkit import aliases
from meshkit.errors import StartError

T = TypeVar("T")

FORMAT: Final = 1
"""The layout of the record that this code reads and `meshkit.store_write` writes."""

SUFFIXES: Final = frozenset({".onnx", ".json", ".safetensors", ".npz", ".txt"})
"""File formats of a version. They hold data only: loading one runs none of its content."""

MANIFEST: Final = "model.yaml"
"""BentoML's file of a version. It is written last, so a folder without it is no version (yet)."""

MAX_MANIFEST_BYTES: Final = 256 * 1024


class NoVersion(StartError):
    """The store has no such version; the message says how to get one."""


class DamagedVersion(StartError):
    """A version is not as it was saved, or was saved by something else; it is not loaded."""


class _Record(msgspec.Struct, frozen=True):
    """What the store needs of a version's record; the rest is the model's own."""

    mesh_format: int
    run: str
    files: dict[str, str]


class _Manifest(msgspec.Struct, frozen=True):
    """What is read of `model.yaml`."""

    name: str
    version: str
    creation_time: str
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Version:
    """One version.

    Attributes:
        model: name of the model.
        name: the version.
        run: the training run that produced it.
        created: when it was saved: UTC, ISO 8601.
        files: the paths of its files by their names.
        record: all that was written about it when it was saved.
    """

    model: str
    name: str
    run: str
    created: str
    files: Mapping[str, Path]
    record: Mapping[str, Any]

    @property
    def hashes(self) -> Mapping[str, str]:
        """The SHA-256 of each file when it was saved."""
        hashes: Mapping[str, str] = self.record["files"]
        return hashes

    def file(self, name: str) -> Path:
        """The path of a file of the version.

        Raises:
            DamagedVersion: the version has no such file.
        """
        if name not in self.files:
            has = ", ".join(sorted(self.files)) or "none"
            raise DamagedVersion(f"{self.model}:{self.name} has no file {name}, only {has}")
        return self.files[name]

    def record_as(self, kind: type[T]) -> T:
        """The record as a typed structure (a msgspec Struct, a dataclass).

        Raises:
            DamagedVersion: a field is missing or has another type.
        """
        try:
            return msgspec.convert(self.record, kind)
        except msgspec.ValidationError as error:
            raise DamagedVersion(
                f"the record of {self.model}:{self.name} does not fit this release: {error}; "
                f"train again with `mesh models train {self.model}`"
            ) from error


def resolve(home: Path, model: str, alias: str = aliases.PRODUCTION) -> Version:
    """Opens the version that an alias points to.

    Args:
        home: the store's home folder (`BENTOML_HOME`).
        model: name of the model.
        alias: name of the alias.

    Raises:
        NoVersion: the alias was never set, or names a version that is gone.
        DamagedVersion: the alias or the version can't be trusted.
    """
    try:
        target = aliases.read(home, model, alias)
    except aliases.BadAlias as error:
        raise DamagedVersion(str(error)) from error
    if target is None:
        raise NoVersion(
            f"no version of {model} is in {alias} in {home}; run `mesh models train {model}`"
        )
    return open_version(home, model, target.version)


def open_version(home: Path, model: str, version: str) -> Version:
    """Opens one version and verifies every file of it.

    Raises:
        NoVersion: it is not in the store.
        DamagedVersion: it can't be trusted.
    """
    opened = read_version(home, model, version)
    for file, sha256 in opened.hashes.items():
        _verify(opened.files[file], sha256)
    return opened


def read_version(home: Path, model: str, version: str) -> Version:
    """Reads what is known of a version, and none of its files: for who lists or compares.

    Raises:
        NoVersion: it is not in the store.
        DamagedVersion: what is written of it can't be trusted.
    """
    name = f"{model}:{version}"
    folder = home / "models" / model / version
    if not folder.is_dir():
        raise NoVersion(
            f"{name} is not in the store {home}; promote one that is, or run "
            f"`mesh models train {model}`"
        )
    if folder.resolve() != home.resolve() / "models" / model / version:
        raise DamagedVersion(f"{folder} leads out of the store by a link; put the files there")
    manifest = _read_manifest(folder, model, version)
    metadata = manifest.metadata
    try:
        record = msgspec.convert(metadata, _Record)
    except msgspec.ValidationError as error:
        raise DamagedVersion(
            f"{name} has no record of this mesh ({error}); it was saved by something else, so "
            f"run `mesh models train {model}`"
        ) from error
    if record.mesh_format != FORMAT:
        raise DamagedVersion(
            f"{name} has format {record.mesh_format} and this release reads {FORMAT}; run "
            f"`mesh models train {model}` with this release"
        )
    for file in record.files:
        _check_file_name(file, name)
    files = {file: folder / file for file in record.files}
    return Version(model, version, record.run, manifest.creation_time, files, metadata)


def versions(home: Path, model: str) -> list[str]:
    """The versions that the store has of a model, by name; none where it has no such model."""
    folder = home / "models" / model
    return sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}"))


def is_file_name(name: str) -> bool:
    """Whether a file of a version may be called so: a plain name of a format of data only."""
    return Path(name).name == name and Path(name).suffix in SUFFIXES


def _read_manifest(folder: Path, model: str, version: str) -> _Manifest:
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            content = file.read(MAX_MANIFEST_BYTES + 1)
        if len(content) > MAX_MANIFEST_BYTES:
            raise DamagedVersion(f"{path} is larger than {MAX_MANIFEST_BYTES} bytes; restore it")
        # A few nested references can stand for more nodes than any memory holds.
        if any(
            isinstance(event, yaml.AliasEvent) for event in yaml.parse(content, yaml.CSafeLoader)
        ):
            raise DamagedVersion(f"{path} refers to itself (YAML aliases), as we never write it")
        manifest = msgspec.yaml.decode(content, type=_Manifest)
    except (OSError, yaml.YAMLError, msgspec.DecodeError, RecursionError) as error:
        raise DamagedVersion(f"{path} can't be read ({error}); restore it") from error
    if (manifest.name, manifest.version) != (model, version):
        raise DamagedVersion(
            f"{path} describes {manifest.name}:{manifest.version} and lies in the folder of "
            f"{model}:{version}; move it back"
        )
    return manifest


def _check_file_name(name: str, version: str) -> None:
    if not is_file_name(name):
        allowed = ", ".join(sorted(SUFFIXES))
        raise DamagedVersion(
            f"{version} names the file {name!r}; only plain names ending in {allowed} are loaded"
        )


def _verify(path: Path, sha256: str) -> None:
    if path.is_symlink() or not path.is_file():
        raise DamagedVersion(
            f"{path} is missing or no plain file; restore it, or promote another version"
        )
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != sha256:
        raise DamagedVersion(
            f"{path} has SHA-256 {actual}, and {sha256} when it was saved; restore it, or promote "
            "another version"
        )
