"""The supervisor of one mesh: its configuration, its start, and the calls to it.

It keeps each process running: one that dies is started again, the others are not touched.
"""

import hashlib
import http.client
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesh_cli.failures import Failure
from mesh_cli.processes import MARKER
from mesh_cli.settings import Site

# The kernel takes 107 bytes for the path of a socket, and the supervisor adds a suffix while it
# makes one.
_LONGEST_SOCKET = 90
_CALL_TIMEOUT_S = 5.0
_START_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Program:
    """A process to keep running."""

    name: str
    command: tuple[str, ...]
    stop_wait_s: int
    """Seconds between SIGTERM and SIGKILL: at least the time it may drain."""


@dataclass(frozen=True)
class Record:
    """What the state folder remembers of the mesh that was started last."""

    socket: Path
    fingerprint: str
    ports: dict[str, int]


@dataclass(frozen=True)
class State:
    """What the supervisor says of one process; `name` is upper case, such as RUNNING or BACKOFF."""

    program: str
    name: str
    pid: int
    started: int
    """When it was started last, in seconds since the epoch."""


def fingerprint(site: Site, programs: Sequence[Program], installed: Sequence[str]) -> str:
    """A hash of all that a running mesh can't take over without a restart.

    Args:
        site: the mesh, with its environment.
        programs: what is to run.
        installed: what identifies each environment that the programs run in.
    """
    ours = {
        name: value
        for name, value in site.process_environment().items()
        if name.startswith("MESH_")
    }
    content = [ours, [repr(program) for program in programs], list(installed)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def start(site: Site, programs: Sequence[Program], mark: str) -> Record:
    """Starts a supervisor with these programs, in the background.

    Raises:
        Failure: it does not come up; the text holds its own words.
    """
    for folder in (site.state, site.run, site.logs):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    record = Record(_socket_folder() / "supervisor.sock", mark, dict(site.ports))
    # First of all, so that the folder is found again whatever happens next.
    _record_path(site).write_text(
        json.dumps(
            {"socket": str(record.socket), "fingerprint": mark, "ports": record.ports}, indent=2
        ),
        encoding="utf-8",
    )
    configuration = site.run / "supervisord.conf"
    configuration.write_text(render(programs, record.socket), encoding="utf-8")
    launched = subprocess.run(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)],
        cwd=site.state,
        env=site.process_environment() | {MARKER: str(site.state)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_START_TIMEOUT_S,
    )
    if launched.returncode:
        said = (launched.stdout + launched.stderr).strip().partition("\n")[0]
        raise Failure(f"the supervisor does not start: {said}")
    deadline = time.monotonic() + _START_TIMEOUT_S
    while states(record) is None:
        if time.monotonic() > deadline:
            raise Failure(f"the supervisor does not answer: see {site.logs / 'supervisord.log'}")
        time.sleep(0.05)
    return record


def render(programs: Sequence[Program], socket_path: Path) -> str:
    """The supervisor's configuration file.

    Its folders are relative to the state folder, where it is started: the supervisor would take a
    percent sign in their names for a format.
    """
    rpc = {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"}
    sections = [
        _section(
            "supervisord",
            logfile="logs/supervisord.log",
            logfile_maxbytes="10MB",
            logfile_backups=1,
            pidfile="run/supervisord.pid",
            childlogdir="logs",
            umask="077",
        ),
        _section("unix_http_server", file=socket_path, chmod="0700"),
        _section("rpcinterface:supervisor", **rpc),
    ]
    # Started in this order and stopped in the reverse one: callers before the called.
    for priority, program in enumerate(programs):
        sections.append(_program_section(program, priority))
    return "\n".join(sections)


def _program_section(program: Program, priority: int) -> str:
    return _section(
        f"program:{program.name}",
        command=shlex.join(program.command),
        priority=priority,
        autostart="true",
        autorestart="true",
        startsecs=1,
        # Each try waits a second longer than the last, so this is more than an hour.
        startretries=100,
        stopsignal="TERM",
        stopwaitsecs=program.stop_wait_s,
        killasgroup="true",
        redirect_stderr="true",
        stdout_logfile=f"logs/{program.name}.log",
        stdout_logfile_maxbytes="10MB",
        stdout_logfile_backups=2,
    )


def read_record(site: Site) -> Record | None:
    """What the state folder remembers of the last start; None when there was none."""
    try:
        content = json.loads(_record_path(site).read_text(encoding="utf-8"))
        return Record(Path(content["socket"]), content["fingerprint"], content["ports"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # also one that was cut short
        return None


def states(record: Record) -> list[State] | None:
    """How each process is, in their order; None when no supervisor answers."""
    try:
        infos: Any = _call(record, "supervisor.getAllProcessInfo")
    except (OSError, http.client.HTTPException):
        return None
    return [State(info["name"], info["statename"], info["pid"], info["start"]) for info in infos]


def forget(site: Site) -> None:
    """Removes the socket's folder and the record of a mesh that has ended."""
    record = read_record(site)
    if record:
        shutil.rmtree(record.socket.parent, ignore_errors=True)
    _record_path(site).unlink(missing_ok=True)


def _record_path(site: Site) -> Path:
    return site.run / "mesh.json"


def _socket_folder() -> Path:
    """A new folder of this user alone, short enough for a socket in it."""
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108  # mkdtemp makes it private
        if len(os.fsencode(parent)) + len("/mesh-12345678/supervisor.sock") <= _LONGEST_SOCKET:
            return Path(tempfile.mkdtemp(prefix="mesh-", dir=parent))
    raise Failure(f"{tempfile.gettempdir()} is too long for a socket: set TMPDIR to a shorter path")


def _section(name: str, **options: object) -> str:
    lines = [f"[{name}]"]
    for option, value in options.items():
        text = str(value)
        if "\n" in text or " ;" in text or " #" in text:  # it would be cut there
            raise Failure(f"{text!r} can't be used in a path: move it to one without ' ;' and ' #'")
        lines.append(f"{option}={text.replace('%', '%%')}")
    return "\n".join(lines) + "\n"


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_CALL_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Connects to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_CALL_TIMEOUT_S)
        self.sock.connect(self._path)


def _call(record: Record, method: str) -> object:
    connection = _Connection(str(record.socket))
    try:
        connection.request("POST", "/RPC2", xmlrpc.client.dumps((), method))
        answer = connection.getresponse().read()
    finally:
        connection.close()
    (result,), _ = xmlrpc.client.loads(answer)
    return result
