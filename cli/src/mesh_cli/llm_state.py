"""How far the llm of a mesh is: what its start has written down, and what the service says."""

import http.client
import json
import re
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from mesh_cli import supervisor
from mesh_cli.settings import LLM_ADMIN_PORT, Site
from mesh_cli.supervisor import Record, State

NAME: Final = "llm"
"""Of its program, its log and its model."""
_TIMEOUT_S: Final = 2.0
_ENGINE_UP: Final = re.compile(rb"^mesh_engine_up(?:{[^}]*})? (\S+)$", re.MULTILINE)


class Phase(StrEnum):
    """What it is at."""

    WAITING = "WAITING"
    """It lets the rest of the mesh come up first."""
    INSTALLING = "INSTALLING"
    """Its packages are being installed."""
    MAKING = "MAKING"
    """Its model is being brought or made."""
    LOADING = "LOADING"
    """The service has been started; its port opens when the model answers."""
    READY = "READY"
    RESTARTING = "RESTARTING"
    """The service runs and its engine does not answer: it is being started anew."""
    FAILED = "FAILED"
    """It could not be started, and waits until it is tried again."""


@dataclass(frozen=True)
class Progress:
    """What the start of the llm writes down.

    Attributes:
        phase: what it is at.
        since: when that began, in seconds since the epoch.
        supervisor: the process id of the mesh's supervisor, to which this belongs.
        failures: starts in a row that have failed.
        why: what went wrong, where it has failed.
    """

    phase: Phase
    since: float
    supervisor: int
    failures: int = 0
    why: str = ""


@dataclass(frozen=True)
class Condition:
    """How the llm is, for people.

    Attributes:
        phase: what it is at.
        seconds: for how long.
        why: what went wrong, where it has failed.
    """

    phase: Phase
    seconds: float
    why: str = ""

    @property
    def line(self) -> str | None:
        """What there is to know; None where it is ready."""
        told = f"see cli/mesh logs {NAME}"
        match self.phase:
            case Phase.READY:
                return None
            case Phase.FAILED:
                return f"the llm does not serve: {self.why} ({told}); it is tried again by itself"
            case Phase.WAITING:
                doing = "waiting until the rest of the mesh is up"
            case Phase.INSTALLING:
                doing = "being installed, minutes the first time"
            case Phase.MAKING:
                doing = "waiting for its model, which is made once, in minutes"
            case Phase.LOADING:
                doing = "loading, which takes minutes on a CPU"
            case Phase.RESTARTING:
                doing = "starting its engine anew"
        return f"the llm is {doing} ({self.seconds:.0f} s; {told})"


def write(site: Site, progress: Progress) -> None:
    """Writes down how far the start is."""
    path = _path(site)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(progress)), encoding="utf-8")
    fresh.replace(path)


def read(site: Site) -> Progress | None:
    """What was written down last; None where nothing was."""
    try:
        content = json.loads(_path(site).read_text(encoding="utf-8"))
        return Progress(**content | {"phase": Phase(content["phase"])})
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def of_mesh(site: Site, record: Record) -> Condition | None:
    """How the llm of a running mesh is; None where it has none."""
    for state in supervisor.states(record) or ():
        if state.program == NAME:
            return condition(site, record, state)
    return None


def condition(site: Site, record: Record, state: State) -> Condition:
    """How the llm is.

    Args:
        site: its mesh.
        record: the start of the mesh.
        state: of its program, by the supervisor.
    """
    now = time.time()
    age = now - state.started
    progress = read(site)
    # The supervisor tells whole seconds.
    if state.name != "RUNNING" or progress is None or progress.since < state.started - 1:
        return Condition(Phase.LOADING, age)
    if progress.phase is not Phase.LOADING:
        return Condition(progress.phase, now - progress.since, progress.why)
    answers = engine_answers(record.ports[LLM_ADMIN_PORT])
    if answers is None:
        return Condition(Phase.LOADING, now - progress.since)
    return Condition(Phase.READY if answers else Phase.RESTARTING, age)


def engine_answers(admin_port: int) -> bool | None:
    """Whether the engine answers, by the service's metrics; None while there is no engine yet."""
    connection = http.client.HTTPConnection("127.0.0.1", admin_port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        found = _ENGINE_UP.search(connection.getresponse().read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return float(found[1]) > 0 if found else None


def _path(site: Site) -> Path:
    return site.run / "llm.json"
