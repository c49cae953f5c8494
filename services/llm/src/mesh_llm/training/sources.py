"""The parts of the default model, and the one file that they are."""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mesh_pipelines.errors import PipelineError
from mesh_pipelines.fetch import fetch
from mesh_pipelines.sources import Source, load_sources
from meshkit import store

MODEL: Final = "llm"
"""What the store calls the model."""
NAME: Final = "Qwen2.5-Coder-0.5B-Instruct"
LICENCE: Final = "Apache-2.0"
SHA256: Final = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
"""Of the whole file."""
_PREFIX: Final = "chat-model-"
_CHUNK_BYTES: Final = 1 << 20


def made_of_them(models: Path, model: str) -> str | None:
    """The latest version of a model that was made of these parts; None where there is none.

    Args:
        models: the store's home folder.
        model: its name there.
    """
    for version in reversed(store.versions(models, model)):
        with suppress(store.NoVersion, store.DamagedVersion):
            if store.read_version(models, model, version).record.get("source_sha256") == SHA256:
                return version
    return None


def parts() -> list[Source]:
    """Where the parts are, in the order in which they are joined."""
    manifest = load_sources()
    names = [name for name in manifest if name.startswith(_PREFIX)]
    return [
        manifest[name] for name in sorted(names, key=lambda name: int(name.removeprefix(_PREFIX)))
    ]


def fetch_all() -> list[Path]:
    """The parts in their order, downloaded where the cache lacks them.

    Raises:
        PipelineError: a part can't be had.
    """
    return [path for part in parts() for path in fetch(part).values()]


def join(files: list[Path], target: Path, sha256: str = SHA256) -> None:
    """Joins the parts.

    Args:
        files: in their order.
        target: the file to write.
        sha256: of the whole, in hex.

    Raises:
        PipelineError: the whole is not the file that is expected.
        OSError: it can't be written.
    """
    digest = hashlib.sha256()
    with target.open("wb") as whole:
        for file in files:
            with file.open("rb") as part:
                while chunk := part.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    whole.write(chunk)
    if digest.hexdigest() != sha256:
        target.unlink()
        raise PipelineError(
            f"the {len(files)} parts joined have SHA-256 {digest.hexdigest()}, and {sha256} is "
            "expected: remove them from the cache (MESH_CACHE_PATH) and run it again"
        )


def describe() -> dict[str, dict[str, Any]]:
    """Each part with its package, version, licence and the hashes of its files."""
    return {
        part.name: {
            "package": part.package,
            "version": part.version,
            "licence": part.licence,
            "files": {file: entry.sha256 for file, entry in part.files.items()},
        }
        for part in parts()
    }
