"""Starts the llm of a mesh: `python -m mesh_cli.llm_start`, under its supervisor.

What the service needs takes minutes the first time: gigabytes of packages, and a model that is made
out of its parts. The rest of a mesh does not wait for that, so it happens here, and then this
process becomes the service. What fails is written down and tried again after a pause.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import FrameType
from typing import Final, NoReturn

import psutil

from mesh_cli import (
    environments,
    lifecycle,
    llm_state,
    memory,
    models,
    models_mirror,
    readiness,
)
from mesh_cli.failures import Failure, of_os_error
from mesh_cli.llm_sizes import gib
from mesh_cli.llm_state import NAME, Phase, Progress
from mesh_cli.rooms import ENGINE, ROOT, Environment, room
from mesh_cli.settings import GATEWAY_HTTP_PORT, Site
from meshkit.errors import MeshError, StartError

ROOM: Final = f"services/{NAME}"
DISK_BYTES: Final = 9 * 1024**3
"""Free space for the packages (6 GB), the parts of the model, and the model made of them."""
# A service that ends so soon after its start has not come up, or does not stay up.
_EARLY_S: Final = 1800.0
_FIRST_PAUSE_S: Final = 10.0
_LONGEST_PAUSE_S: Final = 300.0
_COURTESY_S: Final = 60.0
_LOOK_EVERY_S: Final = 0.5


def serving(site: Site) -> Environment:
    """The environment that the service runs in."""
    return Environment(room(ROOM), None if site.llm.remote else ENGINE)


def shortage(site: Site) -> str | None:
    """What the machine lacks to start it now; None where nothing."""
    if site.llm.remote:
        return None
    free = shutil.disk_usage(ROOT).free
    missing = not environments.is_current(serving(site)) or _wants_model(site)
    if missing and free < DISK_BYTES:
        return f"it needs {gib(DISK_BYTES)} of disk the first time and {gib(free)} are free"
    if (free := memory.free_bytes()) < site.llm.needs_bytes:
        return f"it needs {gib(site.llm.needs_bytes)} of free memory and {gib(free)} are free"
    return None


def pause_s(failures: int) -> float:
    """Seconds until the next try, after so many that have failed in a row."""
    return float(min(_FIRST_PAUSE_S * 2 ** (failures - 1), _LONGEST_PAUSE_S)) if failures else 0.0


def resumed(last: Progress | None, supervisor: int, now: float, last_words: str) -> Progress:
    """Where a start begins, by what the one before it has written down.

    Args:
        last: what that was.
        supervisor: the process id of this mesh's supervisor.
        now: in seconds since the epoch.
        last_words: of the service that ran before.
    """
    fresh = Progress(Phase.WAITING, now, supervisor)
    if last is None or last.supervisor != supervisor:
        return fresh
    if last.phase is Phase.LOADING and now - last.since < _EARLY_S:
        return replace(
            fresh, phase=Phase.FAILED, failures=last.failures + 1, why=f"it ended: {last_words}"
        )
    return fresh


def prepare(site: Site, at: Callable[[Phase], None]) -> None:
    """Waits for the rest, installs what is missing, and makes a model where there is none.

    Args:
        site: the mesh.
        at: told what it is at.

    Raises:
        Failure: something that the user can mend stands in the way, or a lack of room.
    """
    at(Phase.WAITING)
    _let_others_start(site)
    if lack := shortage(site):
        raise Failure(lack)
    at(Phase.INSTALLING)
    environments.sync(serving(site))
    if _wants_model(site):
        at(Phase.MAKING)
        models_mirror.bring_production(site, NAME)
        if not models.has_production(site, NAME):
            models.train(site, NAME)


def _let_others_start(site: Site) -> None:
    """Waits until the rest of the mesh is ready: at their start all would want every processor."""
    give_up_at = time.monotonic() + _COURTESY_S
    port = site.ports[GATEWAY_HTTP_PORT]
    while readiness.missing(port) and time.monotonic() < give_up_at:
        time.sleep(_LOOK_EVERY_S)  # nothing tells this process, which does nothing else meanwhile


def main() -> NoReturn:
    """Prepares, however often that takes, and becomes the service."""
    signal.signal(signal.SIGTERM, _end)
    site = Site.load()
    log = site.logs / f"{NAME}.log"
    progress = resumed(llm_state.read(site), os.getppid(), time.time(), lifecycle.last_words(log))
    while (failed := _try(site, progress)) is not None:
        progress = failed
    _become(serving(site), site.process_environment())


def _try(site: Site, progress: Progress) -> Progress | None:
    """Prepares once, after the pause that a failure asks for; what to go on with where it fails."""
    if progress.phase is Phase.FAILED:
        _wait(site, progress)
    try:
        prepare(site, lambda phase: _write(site, progress, phase))
    except (Failure, MeshError, StartError) as error:
        return _failed(progress, str(error))
    except OSError as error:
        return _failed(progress, str(of_os_error(error)))
    _write(site, progress, Phase.LOADING)
    return None


def _become(environment: Environment, variables: Mapping[str, str]) -> NoReturn:
    """The same process, under the same supervisor, with the same log."""
    python = str(environment.python)
    sys.stdout.flush()
    os.execve(python, [python, "-m", f"mesh_{NAME}"], variables)


def _wait(site: Site, progress: Progress) -> None:
    seconds = pause_s(progress.failures)
    llm_state.write(site, progress)
    sys.stdout.write(f"{progress.why}; trying again in {seconds:.0f} s\n")
    sys.stdout.flush()
    # A process of its own that has no other work; a signal ends it here as anywhere.
    time.sleep(seconds)


def _write(site: Site, progress: Progress, phase: Phase) -> None:
    llm_state.write(site, replace(progress, phase=phase, since=time.time(), why=""))


def _failed(progress: Progress, why: str) -> Progress:
    return replace(
        progress,
        phase=Phase.FAILED,
        since=time.time(),
        failures=progress.failures + 1,
        why=why,
    )


def _wants_model(site: Site) -> bool:
    """Whether a version must be had first; a model that the user names needs none."""
    named = ("MESH_LLM_MODEL_URI", "MESH_LLM_MODEL_VERSION")
    chosen = site.llm.remote or any(site.environment.get(name) for name in named)
    return not (chosen or models.has_production(site, NAME))


def _end(_signal: int, _frame: FrameType | None) -> None:
    """Ends with everything that was started here: an installer, a training."""
    for child in psutil.Process().children(recursive=True):
        child.terminate()
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
