"""The life of a mesh, with a real supervisor and small real servers under it."""

import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from mesh_cli import lifecycle, processes, supervisor
from mesh_cli.failures import Failure
from mesh_cli.settings import GATEWAY_HTTP_PORT, Site
from mesh_cli.supervisor import Program, Record

PATIENCE_S = 30.0
SERVER = Path(__file__).parent / "small_server.py"


def eventually(true: Callable[[], bool], what: str) -> None:
    """Waits for a condition that another process brings about."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE_S} s"
        time.sleep(0.02)


def server(site: Site, name: str = "server") -> Program:
    command = (sys.executable, str(SERVER), str(site.ports[GATEWAY_HTTP_PORT]))
    return Program(name, command, stop_wait_s=5)


def answering_pid(site: Site) -> int | None:
    try:
        url = f"http://127.0.0.1:{site.ports[GATEWAY_HTTP_PORT]}/"
        with urllib.request.urlopen(url, timeout=2) as answer:
            return int(answer.read())
    except (urllib.error.URLError, ConnectionError):  # refused, or it died while it answered
        return None


def up(site: Site, *programs: Program) -> Record:
    record = lifecycle.start(site, programs, "mark")
    lifecycle.wait_ready(
        site, record, lambda: None if answering_pid(site) else "server", timeout_s=PATIENCE_S
    )
    return record


def supervisor_pid(site: Site) -> int:
    return int((site.run / "supervisord.pid").read_text())


def test_a_mesh_comes_up_is_described_and_goes_down(site: Site) -> None:
    up(site, server(site))
    eventually(lambda: lifecycle.describe(site)[1] is None, "running")
    states, _ = lifecycle.describe(site)
    assert [(state.program, state.pid) for state in states] == [("server", answering_pid(site))]
    record = lifecycle.running(site, "mark")
    assert record is not None
    assert lifecycle.running(site, "another mark") is None

    assert lifecycle.stop(site)
    assert processes.of_mesh(site.state) == []
    assert answering_pid(site) is None
    assert not record.socket.parent.exists()
    assert "drained" in (site.logs / "server.log").read_text()
    assert lifecycle.describe(site) == ([], "the mesh is down: make up starts it")
    assert not lifecycle.stop(site)


def test_a_process_that_dies_comes_back_alone(site: Site) -> None:
    other = Program("other", (sys.executable, "-c", "import time; time.sleep(600)"), 1)
    record = up(site, server(site), other)
    before = {state.program: state.pid for state in supervisor.states(record) or ()}
    os.kill(before["server"], signal.SIGKILL)
    eventually(lambda: answering_pid(site) not in (None, before["server"]), "the server's return")
    after = {state.program: state.pid for state in supervisor.states(record) or ()}
    assert after["other"] == before["other"]


def test_what_a_killed_supervisor_leaves_behind_is_ended_and_nothing_else(
    site: Site, tmp_path: Path
) -> None:
    up(site, server(site))
    orphan = answering_pid(site)
    assert orphan is not None
    # A process of this user with the state folder in its environment, yet none of the mesh's.
    bystander = psutil.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        env={**os.environ, "MESH_STATE_PATH": str(site.state)},
    )
    neighbour = Site.load({**site.environment, "MESH_STATE_PATH": str(tmp_path / "neighbour")})
    other = psutil.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        env={**os.environ, processes.MARKER: str(neighbour.state)},
    )
    try:
        os.kill(supervisor_pid(site), signal.SIGKILL)
        eventually(lambda: not psutil.pid_exists(supervisor_pid(site)), "the supervisor's end")
        assert answering_pid(site) == orphan
        _, fault = lifecycle.describe(site)
        assert fault is not None
        assert "its supervisor is gone, 1 processes run on" in fault

        up(site, server(site))
        assert answering_pid(site) not in (None, orphan)
        assert not psutil.pid_exists(orphan)
        assert bystander.is_running()
        assert [process.pid for process in processes.of_mesh(neighbour.state)] == [other.pid]
    finally:
        for process in (bystander, other):
            process.kill()
            process.wait()


def test_a_port_taken_by_another_is_said_before_anything_starts(site: Site) -> None:
    up(site, server(site))
    second = Site.load({**site.environment, "MESH_STATE_PATH": str(site.state.parent / "second")})
    with pytest.raises(Failure, match=f"port {site.ports[GATEWAY_HTTP_PORT]} is taken by"):
        lifecycle.start(second, [server(second)], "mark")
    assert processes.of_mesh(second.state) == []
    assert answering_pid(site) is not None


def test_a_process_that_can_not_start_is_named_with_its_last_words(site: Site) -> None:
    broken = Program("broken", (sys.executable, "-c", "raise SystemExit('no model here')"), 1)
    record = lifecycle.start(site, [broken], "mark")
    with pytest.raises(Failure, match=r"broken ends while it starts: no model here \(see .*log\)"):
        lifecycle.wait_ready(site, record, lambda: "broken", timeout_s=PATIENCE_S)


def test_a_mesh_that_does_not_get_ready_says_what_it_waits_for(site: Site) -> None:
    record = lifecycle.start(site, [server(site)], "mark")
    with pytest.raises(Failure, match="not ready after 0 s, it waits for Godot"):
        lifecycle.wait_ready(site, record, lambda: "Godot", timeout_s=0.2)


def test_two_commands_never_hold_one_mesh(site: Site) -> None:
    with lifecycle.exclusive(site):
        pid = os.fork()
        if pid == 0:
            try:
                with lifecycle.exclusive(site):
                    os._exit(1)
            except Failure:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_long_state_path_is_no_obstacle(site: Site) -> None:
    deep = site.state / ("a" * 100) / ("b % c" * 10)
    far = Site.load({**site.environment, "MESH_STATE_PATH": str(deep)})
    try:
        record = up(far, server(far))
        assert len(str(record.socket)) < 100
        assert record.socket.parent.stat().st_mode & 0o777 == 0o700
        assert deep.stat().st_mode & 0o777 == 0o700
    finally:
        lifecycle.stop(far)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("one\ntwo\n\n", "two"),
        ('{"message": "the port is taken", "level": "ERROR"}\n', "the port is taken"),
        ("42\n", "42"),
        ("", "it said nothing"),
        ("x" * 400, "x" * 300),
    ],
)
def test_last_words(tmp_path: Path, text: str, words: str) -> None:
    log = tmp_path / "a.log"
    log.write_text(text)
    assert lifecycle.last_words(log) == words
