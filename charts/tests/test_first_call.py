"""The script of `helm test`, before a server that answers as the gateway does."""

import base64
import json
import os
import ssl
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from rendering import CHART, find, render

SCRIPT = CHART / "scripts" / "first_call.py"
KEY = "mesh_abcdefghijkl_secret"
MESH = f"""#!/bin/sh
echo "$@" >> "$MESH_CALLS"
test "$2" = create && echo {KEY}
exit 0
"""


class Gateway:
    """A server that knows one key.

    Args:
        results: of an answer.
        certificate: with its key, in PEM; None for plain HTTP.
    """

    def __init__(self, results: list[dict[str, Any]], certificate: Path | None) -> None:
        body = json.dumps({"results": results, "lineage": {"version": "v1"}}).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                known = self.headers["authorization"] == f"Bearer {KEY}"
                self.send_response(200 if known else 401)
                self.end_headers()
                self.wfile.write(body if known else b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever)

    def __enter__(self) -> "Gateway":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """What the `mesh` command was called with, a line each."""
    program = tmp_path / "bin" / "mesh"
    program.parent.mkdir()
    program.write_text(MESH)
    program.chmod(0o755)
    return tmp_path / "calls"


def run(url: str, calls: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the script as the pod does: as text, by `python -c`."""
    told = {
        "PATH": f"{calls.parent / 'bin'}:{os.environ['PATH']}",
        "MESH_CALLS": str(calls),
        "TEST_URL": url,
        "TEST_TIMEOUT_S": "0",
    }
    command = [sys.executable, "-c", SCRIPT.read_text(encoding="utf-8")]
    return subprocess.run(
        command, env=told | variables, capture_output=True, text=True, timeout=60, check=False
    )


GOOD = [{"label": "positive"}, {"label": "negative"}]


def test_it_makes_a_key_classifies_and_revokes_the_key(calls: Path) -> None:
    with Gateway(GOOD, None) as gateway:
        ran = run(gateway.url, calls)
    assert ran.returncode == 0, ran.stderr
    assert "labels ['positive', 'negative'], version v1" in ran.stdout
    made, revoked = calls.read_text().splitlines()
    assert made.startswith("keys create helm-test --tenant helm-test --expires")
    assert revoked == "keys revoke abcdefghijkl"


def test_an_answer_without_labels_fails_and_the_key_is_revoked(calls: Path) -> None:
    with Gateway([{"error": {}}, {"label": "negative"}], None) as gateway:
        ran = run(gateway.url, calls)
    assert ran.returncode == 1
    assert "2 texts were sent, and the answer is" in ran.stderr
    assert calls.read_text().splitlines()[-1] == "keys revoke abcdefghijkl"


def test_a_gateway_that_is_not_there_is_said(calls: Path) -> None:
    ran = run("http://127.0.0.1:1", calls)
    assert ran.returncode == 1
    assert "the gateway answers 0, not 401" in ran.stderr


def test_it_trusts_the_gateway_s_own_certificate_and_no_other(calls: Path, tmp_path: Path) -> None:
    door = {"tls": {"door": {"enabled": True, "selfSigned": True}}}
    pairs = []
    for number in range(2):
        data = find(render(door), "Secret", "mesh-door-tls")["data"]
        pair, certificate = tmp_path / f"pair{number}.pem", tmp_path / f"{number}.pem"
        certificate.write_bytes(base64.b64decode(data["tls.crt"]))
        pair.write_bytes(certificate.read_bytes() + base64.b64decode(data["tls.key"]))
        pairs.append((pair, certificate))
    with Gateway(GOOD, pairs[0][0]) as gateway:
        own = run(gateway.url, calls, TEST_CERTIFICATE=str(pairs[0][1]))
        other = run(gateway.url, calls, TEST_CERTIFICATE=str(pairs[1][1]))
    assert own.returncode == 0, own.stderr
    assert other.returncode == 1
    assert "CERTIFICATE_VERIFY_FAILED" in other.stderr


def test_kubernetes_finds_no_variable_in_the_script() -> None:
    # $(NAME) in the arguments of a container would be replaced.
    assert "$(" not in SCRIPT.read_text(encoding="utf-8")
