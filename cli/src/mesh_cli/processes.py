"""Finds and ends the processes that one mesh has started, and never any other."""

from pathlib import Path

import psutil

# Every process under the supervisor carries this name with the state folder of its mesh. It is not
# MESH_STATE_PATH, which a user may have exported to a whole shell.
MARKER = "INFERENCE_MESH_OF"


def of_mesh(state: Path) -> list[psutil.Process]:
    """The running processes that the mesh of this state folder has started."""
    own = psutil.Process()
    mine = {own.pid, *(parent.pid for parent in own.parents())}
    found = []
    for process in psutil.process_iter():
        try:
            marker = process.environ().get(MARKER)
        except (psutil.AccessDenied, psutil.NoSuchProcess):  # another user's, or it has just ended
            continue
        if marker == str(state) and process.pid not in mine:
            found.append(process)
    return found


def end(processes: list[psutil.Process], *, grace_s: float) -> None:
    """Asks processes to end (SIGTERM), and kills those that still run after the grace."""
    for process in processes:
        try:
            process.terminate()
        except psutil.NoSuchProcess:
            continue
    _, stubborn = psutil.wait_procs(processes, timeout=grace_s)
    doomed = [each for process in stubborn for each in _with_descendants(process)]
    for process in doomed:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(doomed, timeout=10)


def _with_descendants(process: psutil.Process) -> list[psutil.Process]:
    """Also what carries no marker: an engine's processes write a title over their environment."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return [process]
