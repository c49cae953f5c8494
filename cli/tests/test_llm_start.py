"""The start of the llm, under a real supervisor; the service before an upstream needs no engine."""

import http.server
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from mesh_cli import lifecycle, llm_start, llm_state, processes, readiness, status, supervisor
from mesh_cli.llm_state import Phase, Progress
from mesh_cli.settings import GATEWAY_HTTP_PORT, Site
from mesh_cli.supervisor import Program, Record

PATIENCE_S = 120.0
READY = {
    "ready": True,
    "backends": {name: "ready" for name, _ in readiness.SERVERS if name != "gateway"},
    "key_store": "ready",
}


class Gateway(http.server.BaseHTTPRequestHandler):
    """Says that the rest of the mesh is ready."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(READY).encode())

    def log_message(self, *_: object) -> None:
        """Writes nothing."""


@pytest.fixture(autouse=True)
def gateway(site: Site) -> Iterator[None]:
    """The rest of the mesh."""
    address = ("127.0.0.1", site.ports[GATEWAY_HTTP_PORT])
    with http.server.HTTPServer(address, Gateway) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


def eventually(true: Callable[[], bool], what: str) -> None:
    """Waits for a condition that another process brings about."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE_S} s"
        time.sleep(0.05)


def started(site: Site, **more: str) -> tuple[Site, Record]:
    """The mesh of `site` with its llm alone."""
    chosen = Site.load({**site.environment, "MESH_LLM": "on", **more})
    starts = (sys.executable, "-m", "mesh_cli.llm_start")
    program = Program(llm_state.NAME, starts, site.stop_wait_s(llm_state.NAME))
    return chosen, supervisor.start(chosen, [program], "mark")


def phase_of(site: Site, record: Record) -> Phase | None:
    found = llm_state.of_mesh(site, record)
    return found.phase if found else None


def test_it_becomes_the_service_and_ends_with_the_mesh(site: Site) -> None:
    mesh, record = started(
        site, MESH_LLM_ENGINE="remote", MESH_LLM_UPSTREAM_URL="http://127.0.0.1:9/v1"
    )
    eventually(lambda: phase_of(mesh, record) is Phase.READY, "an llm that answers")
    (service,) = [
        process
        for process in processes.of_mesh(mesh.state)
        if process.cmdline()[-2:] == ["-m", "mesh_llm"]
    ]
    states, _ = lifecycle.describe(mesh)
    assert [(state.program, state.pid) for state in states] == [("llm", service.pid)]
    assert lifecycle.stop(mesh)
    assert not service.is_running()
    assert processes.of_mesh(mesh.state) == []


def test_a_lack_of_memory_is_said_and_waited_out(site: Site) -> None:
    mesh, record = started(site, MESH_LLM_KV_CACHE_BYTES=str(1 << 50))
    eventually(lambda: phase_of(mesh, record) is Phase.FAILED, "a start that fails")
    found = llm_state.of_mesh(mesh, record)
    assert found
    assert "of free memory and" in found.why
    shown = status.look(mesh)
    assert shown.lines[0].startswith("llm          FAILED")
    assert "is up and ready" in shown.lines[1]
    assert shown.fault == found.line
    written = mesh.logs / "llm.log"
    eventually(lambda: "trying again in 10 s" in written.read_text(), "a line in its log")
    assert lifecycle.stop(mesh)
    assert processes.of_mesh(mesh.state) == []


def test_pauses_grow_to_five_minutes() -> None:
    assert [llm_start.pause_s(failures) for failures in range(8)] == [
        *(0, 10, 20, 40, 80, 160, 300, 300)
    ]


LAST = Progress(Phase.LOADING, since=1000.0, supervisor=7, failures=1)


@pytest.mark.parametrize(
    ("last", "phase", "failures"),
    [
        (None, Phase.WAITING, 0),
        (LAST, Phase.FAILED, 2),
        # It served for long, so there is no reason to wait.
        (Progress(Phase.LOADING, since=-900.0, supervisor=7, failures=1), Phase.WAITING, 0),
        # Of a mesh that was ended.
        (Progress(Phase.LOADING, since=1000.0, supervisor=6, failures=1), Phase.WAITING, 0),
        (Progress(Phase.MAKING, since=1000.0, supervisor=7), Phase.WAITING, 0),
    ],
)
def test_only_a_service_that_does_not_stay_up_has_to_wait(
    last: Progress | None, phase: Phase, failures: int
) -> None:
    found = llm_start.resumed(last, 7, 1100.0, "no memory")
    assert (found.phase, found.failures) == (phase, failures)
    assert found.why == ("it ended: no memory" if phase is Phase.FAILED else "")
