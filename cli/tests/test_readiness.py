import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from mesh_cli import readiness

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
        (200, READY | {"backends": {"classifier": "ready", "llm": "unavailable"}}, None),
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
    assert readiness.missing(port) == missing


def test_a_gateway_that_answers_nonsense_or_not_at_all_is_missing(port: int) -> None:
    Gateway.status, Gateway.body = 200, b"<html>"
    assert readiness.missing(port) == "the gateway"
    assert readiness.missing(9) == "the gateway"  # nothing listens there
