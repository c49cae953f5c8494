"""Where downloads and half-done work are kept between runs."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mesh_pipelines.errors import PipelineError


def cache_path(environment: Mapping[str, str] | None = None) -> Path:
    """`MESH_CACHE_PATH`, else `inference-mesh` in the user's cache folder."""
    environment = os.environ if environment is None else environment
    if named := environment.get("MESH_CACHE_PATH"):
        return Path(named).expanduser().absolute()
    base = environment.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "inference-mesh"


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Waits until no other process is in this folder, and keeps others out meanwhile."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def exclusive(folder: Path, work: str) -> Iterator[None]:
    """Makes a folder and keeps other processes out of it: for work that takes too long to wait for.

    Args:
        folder: the folder.
        work: what is done there, such as `a training`.

    Raises:
        PipelineError: another process is in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PipelineError(
                f"{work} is running in {folder} already: wait for it, or set MESH_CACHE_PATH to "
                "another folder"
            ) from None
        yield
