import http.server
import json
import shlex
import threading
from collections.abc import Iterator

import pytest

from mesh_cli import up

READY = {"ready": True, "backends": {"classifier": "ready"}, "key_store": "ready"}


class Gateway(http.server.BaseHTTPRequestHandler):
    """Answers /ready as it is told."""

    status, body = 200, b""

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/ready" else 404)
        self.end_headers()
        self.wfile.write(self.body)


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.HTTPServer(("127.0.0.1", 0), Gateway) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "content", "missing"),
    [
        (200, READY, None),
        (200, READY | {"backends": {"classifier": "unavailable"}}, "classifier"),
        (200, READY | {"key_store": "unavailable"}, "the key store"),
        (503, READY, "the gateway"),
        (200, {"ready": True}, "the gateway"),
        (200, [], "the gateway"),
    ],
)
def test_the_gateway_says_what_is_missing(
    port: int, status: int, content: object, missing: str | None
) -> None:
    Gateway.status, Gateway.body = status, json.dumps(content).encode()
    assert up.missing(port) == missing


def test_a_gateway_that_answers_nonsense_or_not_at_all_is_missing(port: int) -> None:
    Gateway.status, Gateway.body = 200, b"<html>"
    assert up.missing(port) == "the gateway"
    assert up.missing(9) == "the gateway"  # nothing listens there


def test_the_curl_line_survives_a_shell() -> None:
    line = up.curl_line("http://127.0.0.1:8080", "mesh_a_b")
    words = shlex.split(line)
    assert "\n" not in line
    assert words[:3] == ["curl", "-sS", "http://127.0.0.1:8080/v1/classify"]
    assert "Authorization: Bearer mesh_a_b" in words
    body = json.loads(words[words.index("-d") + 1])
    assert list(body) == ["texts"]
    assert all(isinstance(text, str) and text for text in body["texts"])
