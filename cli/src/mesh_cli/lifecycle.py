"""Starts, shows and ends the processes of one mesh."""

import fcntl
import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from mesh_cli import ports, processes, supervisor
from mesh_cli.failures import Failure
from mesh_cli.progress import Step
from mesh_cli.settings import PROCESSES, Site
from mesh_cli.supervisor import Program, Record, State

DOWN = "the mesh is down: make up starts it"

_POLL_S = 0.1
# A process that ends this often while the mesh starts will not come up by itself.
_MOST_STARTS = 3
_SUPERVISOR_GRACE_S = 10


@contextmanager
def exclusive(site: Site) -> Iterator[None]:
    """Holds the mesh of this state folder, so that two commands never start or end it at once.

    Raises:
        Failure: another command holds it.
    """
    site.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (site.run / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(
                f"another command is starting or ending the mesh of {site.state}: wait for it"
            ) from None
        yield


def running(site: Site, mark: str) -> Record | None:
    """The mesh that runs as wanted; None where there is none, or one that has given up."""
    record = supervisor.read_record(site)
    if record is None or record.fingerprint != mark:
        return None
    states = supervisor.states(record)
    if states is None or any(state.name in ("FATAL", "STOPPED", "UNKNOWN") for state in states):
        return None
    return record


def check_startable(site: Site) -> None:
    """Checks that nothing else holds the ports of a mesh that does not run.

    Raises:
        Failure: a port is taken.
    """
    if not processes.of_mesh(site.state):
        ports.check_free(site.ports)


def start(site: Site, programs: Sequence[Program], mark: str) -> Record:
    """Ends what is left of the mesh and starts it anew.

    Raises:
        Failure: a port is taken, or the supervisor does not start.
    """
    stop(site)
    ports.check_free(site.ports)
    return supervisor.start(site, programs, mark)


def wait_ready(
    site: Site,
    record: Record,
    waits_for: Callable[[], str | None],
    *,
    timeout_s: float,
    passing_over: Collection[str] = (),
) -> None:
    """Waits until the mesh can answer.

    Args:
        site: the mesh.
        record: its start.
        waits_for: says what the mesh still waits for; None when it is ready.
        timeout_s: the most seconds to wait.
        passing_over: programs whose ends are no reason to give up.

    Raises:
        Failure: a process ends again and again, or the time is over; the text holds its last words.
    """
    seen: dict[str, set[int]] = {}
    with Step("start the mesh") as step:
        while (missing := waits_for()) is not None:
            step.note(f"waiting for {missing}")
            states = supervisor.states(record) or ()
            for state in (each for each in states if each.program not in passing_over):
                _check_alive(site, state, seen.setdefault(state.program, set()))
            if step.elapsed_s > timeout_s:
                raise Failure(
                    f"the mesh is not ready after {timeout_s:.0f} s, it waits for {missing}: "
                    f"see the logs in {site.logs}"
                )
            time.sleep(_POLL_S)


def _check_alive(site: Site, state: State, starts: set[int]) -> None:
    starts.add(state.started)
    ended = state.name in ("BACKOFF", "EXITED") and len(starts) >= _MOST_STARTS
    if state.name == "FATAL" or ended:
        log = site.logs / f"{state.program}.log"
        raise Failure(f"{state.program} ends while it starts: {last_words(log)} (see {log})")


def last_words(log: Path) -> str:
    """The last line of a log, short; of a JSON line its message."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace")[-65536:].splitlines()
    except FileNotFoundError:
        lines = []
    line = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    try:
        content = json.loads(line)
    except ValueError:
        content = None
    if isinstance(content, dict) and content.get("message"):
        line = str(content["message"])
    return line[:300]


def stop(site: Site) -> bool:
    """Ends every process of this mesh, each with the time it may drain; says if there was any.

    The supervisor ends its own in order. Those that a killed supervisor left behind are found by
    their marker.
    """
    found = processes.of_mesh(site.state)
    if found:
        with Step("stop the mesh") as step:
            _stop(site, found, step)
    supervisor.forget(site)
    return bool(found)


def _stop(site: Site, found: Sequence[psutil.Process], step: Step) -> None:
    graces = [*(site.stop_wait_s(name) for name in PROCESSES), _SUPERVISOR_GRACE_S]
    supervisors = [process for process in found if _is_supervisor(process)]
    if supervisors:
        step.note("finishing what is in flight")
        processes.end(supervisors, grace_s=sum(graces) + _SUPERVISOR_GRACE_S)
    if left := processes.of_mesh(site.state):
        step.note(f"ending {len(left)} left behind")
        processes.end(left, grace_s=max(graces))


def _is_supervisor(process: psutil.Process) -> bool:
    try:
        return "supervisor.supervisord" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def describe(site: Site, passing_over: Collection[str] = ()) -> tuple[list[State], str | None]:
    """How each process is, and what is wrong with the whole; None when every process runs.

    Args:
        site: the mesh.
        passing_over: programs that need not run.
    """
    record = supervisor.read_record(site)
    states = supervisor.states(record) if record else None
    if states is None:
        left = processes.of_mesh(site.state)
        if left:
            return [], f"its supervisor is gone, {len(left)} processes run on: make up recovers it"
        return [], DOWN
    needed = [state for state in states if state.program not in passing_over]
    faulty = [state.program for state in needed if state.name != "RUNNING"]
    return states, f"not running: {', '.join(faulty)} (make logs says why)" if faulty else None
