"""How far the llm is, by what its start writes down and what a real port says."""

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mesh_cli import llm_state
from mesh_cli.llm_state import Condition, Phase, Progress
from mesh_cli.settings import LLM_ADMIN_PORT, Site
from mesh_cli.supervisor import Record, State


@contextmanager
def metrics(page: bytes) -> Iterator[int]:
    """The port of a service whose metrics are this page."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            """Writes nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def seen(site: Site, port: int, name: str = "RUNNING", age_s: float = 100.0) -> Condition:
    record = Record(Path("/nowhere"), "mark", {LLM_ADMIN_PORT: port})
    return llm_state.condition(site, record, State("llm", name, 1, int(time.time() - age_s)))


@pytest.fixture
def home(site: Site) -> Site:
    site.run.mkdir(parents=True)
    return site


@pytest.mark.parametrize(
    ("page", "phase"),
    [
        (b"process_cpu_seconds_total 3.5\n", Phase.LOADING),
        (b"a 1\nmesh_engine_up 1.0\nb 2\n", Phase.READY),
        (b'mesh_engine_up{otel_scope_name="meshkit"} 0.0\n', Phase.RESTARTING),
    ],
)
def test_a_service_that_was_started_says_itself_how_it_is(
    home: Site, page: bytes, phase: Phase
) -> None:
    llm_state.write(home, Progress(Phase.LOADING, time.time() - 42, supervisor=7))
    with metrics(page) as port:
        found = seen(home, port)
    assert found.phase is phase
    if phase is Phase.LOADING:
        assert 42 <= found.seconds < 60


def test_before_it_was_started_its_start_says_how_far_it_is(home: Site) -> None:
    assert seen(home, 9).phase is Phase.LOADING  # nothing is written down, and nobody listens
    failed = Progress(Phase.FAILED, time.time(), supervisor=7, failures=2, why="the disk is full")
    llm_state.write(home, failed)
    assert llm_state.read(home) == failed
    found = seen(home, 9)
    assert (found.phase, found.why) == (Phase.FAILED, "the disk is full")


def test_what_another_start_has_written_down_is_passed_over(home: Site) -> None:
    llm_state.write(home, Progress(Phase.FAILED, time.time() - 500, supervisor=7, why="then"))
    assert seen(home, 9, age_s=10).phase is Phase.LOADING
    assert seen(home, 9, name="BACKOFF", age_s=1000).phase is Phase.LOADING


@pytest.mark.parametrize("text", ["", "{", "[]", '{"phase": "ASLEEP"}', '{"phase": "READY"}'])
def test_what_was_cut_short_is_nothing(home: Site, text: str) -> None:
    (home.run / "llm.json").write_text(text)
    assert llm_state.read(home) is None


def test_each_phase_is_a_line_that_says_where_to_look() -> None:
    lines = {phase: Condition(phase, 42.4, "no room").line for phase in Phase}
    assert lines.pop(Phase.READY) is None
    assert lines[Phase.LOADING] == (
        "the llm is loading, which takes minutes on a CPU (42 s; see cli/mesh logs llm)"
    )
    assert lines[Phase.FAILED] == (
        "the llm does not serve: no room (see cli/mesh logs llm); it is tried again by itself"
    )
    assert all(line and "see cli/mesh logs llm" in line for line in lines.values())
