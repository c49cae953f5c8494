"""The whole load, against a stand-in for the gateway that knows enough of HTTP."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

KEY = "mesh_a_b"
ROOM = Path(__file__).resolve().parents[1]
_PATIENCE_S = 120


class Gateway(BaseHTTPRequestHandler):
    """Answers what is well-formed, refuses tensors, and knows one key."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers["authorization"] != f"Bearer {KEY}":
            self._answer(401, {"reason": "KEY_UNKNOWN"})
        elif self.path.startswith("/v2"):
            self._answer(503, {"reason": "OVERLOADED"})
        else:
            self._answer(200 if _is_good(body) else 400, {})

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *_: object) -> None:
        """Says nothing."""


def _is_good(body: bytes) -> bool:
    try:
        found = json.loads(body)
    except ValueError:
        return False
    texts = found.get("texts")
    return set(found) == {"texts"} and isinstance(texts, list) and bool(texts) and all(texts)


@contextmanager
def gateway() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


def load(url: str, output: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    given = {
        "MESH_LOAD_URL": url,
        "MESH_LOAD_KEY": KEY,
        "MESH_LOAD_RATES_PER_S": "20",
        "MESH_LOAD_STEP_S": "3",
        "MESH_LOAD_OUTPUT_PATH": str(output),
        **settings,
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    return subprocess.run(
        [sys.executable, "-m", "mesh_load"],
        env={**kept, **given},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )


def test_the_report_tells_what_two_processes_found(tmp_path: Path) -> None:
    with gateway() as url:
        ran = load(url, tmp_path, MESH_LOAD_PROCESSES="2")
    assert ran.returncode == 0, ran.stderr + (tmp_path / "locust.log").read_text()
    page = (tmp_path / "report.md").read_text()
    assert "| 20 | HTTP 503 OVERLOADED | " in page
    assert "| classify, 4 texts | " in page
    assert page.count("HTTP ") == 1, "what is well-formed is answered, and a bad request refused"
    for picture in ("latency.png", "throughput.png", "errors.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
        assert f"({picture})" in page


def test_a_wrong_key_is_said_at_once(tmp_path: Path) -> None:
    with gateway() as url:
        ran = load(url, tmp_path, MESH_LOAD_KEY="mesh_wrong")
    assert ran.returncode == 1
    assert f"load: {url} answers 401: " in ran.stderr
    assert not list(tmp_path.iterdir())


def test_a_mesh_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    ran = load("http://127.0.0.1:9", tmp_path)
    assert ran.returncode == 1
    assert "load: http://127.0.0.1:9 does not answer" in ran.stderr
