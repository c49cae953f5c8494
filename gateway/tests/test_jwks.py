"""Where the keys of tokens come from: a file or a URL, that change, fail and come back."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from made_tokens import JWKS, PRIVATE, jwk_of
from mesh_gateway import jwks
from mesh_gateway.jwks import KeySet
from meshkit.errors import Unavailable
from processes import until

RSA, EC = jwk_of("RS256", PRIVATE["RS256"]), jwk_of("ES256", PRIVATE["ES256"])


class Issuer:
    """Serves a JWK set over HTTP."""

    def __init__(self) -> None:
        self.keys = [RSA]
        self.reads = 0
        self.fails = False
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the library's name
                issuer.reads += 1
                content = json.dumps({"keys": issuer.keys}).encode()
                self.send_response(500 if issuer.fails else 200)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


async def test_a_set_at_a_url_is_read_once_for_all(issuer: Issuer) -> None:
    keys = KeySet(issuer.url)
    found = await asyncio.gather(*(keys.find("rs256") for _ in range(50)))
    assert all(key and key.key_id == "rs256" for key in found)
    assert issuer.reads == 1


async def test_an_unknown_key_is_looked_for_once_and_not_by_each_token(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = KeySet(issuer.url)
    await keys.find("rs256")
    for number in range(50):
        assert await keys.find(f"unknown-{number}") is None
    assert issuer.reads == 1  # it was read a moment ago
    monkeypatch.setattr(jwks, "LOOK_EVERY_S", 0.0)
    issuer.keys.append(EC)
    assert (await keys.find("es256")) is not None  # the issuer has a new key
    assert issuer.reads == 2


async def test_keys_that_were_taken_out_are_gone_after_the_next_read(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = KeySet(issuer.url)
    assert await keys.find("rs256")
    issuer.keys[:] = [EC]
    monkeypatch.setattr(jwks, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(jwks, "READ_EVERY_S", 0.0)
    watch = asyncio.create_task(keys.run())
    await asyncio.to_thread(until, lambda: issuer.reads > 2, "the next read")
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    assert await keys.find("es256")
    assert await keys.find("rs256") is None


async def test_what_was_read_stays_in_use_while_the_issuer_is_away(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jwks, "LOOK_EVERY_S", 0.0)
    keys = KeySet(issuer.url)
    assert await keys.find("rs256")
    issuer.fails = True
    assert await keys.find("unknown") is None
    assert await keys.find("rs256")
    assert "can't read the JWK set" in caplog.text


async def test_without_any_key_nobody_can_say(tmp_path: Path) -> None:
    keys = KeySet(str(tmp_path / "jwks.json"))
    for _ in range(3):
        with pytest.raises(Unavailable) as refused:
            await keys.find("rs256")
        assert refused.value.reason == "JWKS_UNAVAILABLE"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": []}',
        b'{"keys": 7}',
        b'{"keys": [7]}',
        b"\xff",
        b'{"keys": [{"kty": "RSA"}]}',
    ],
)
async def test_what_is_no_set_is_no_set(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(content)
    with pytest.raises(Unavailable):
        await KeySet(str(path)).find("rs256")


async def test_a_set_that_is_too_large_is_not_read(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "_MOST_BYTES", 100)
    with pytest.raises(Unavailable):
        await KeySet(issuer.url).find("rs256")


async def test_a_file_is_read_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "LOOK_EVERY_S", 0.01)
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [RSA]}))
    keys = KeySet(str(path))
    watch = asyncio.create_task(keys.run())
    try:
        assert await keys.find("rs256")
        path.write_text(json.dumps(JWKS))
        async with asyncio.timeout(10):
            while await keys.find("eddsa") is None:  # noqa: ASYNC110  # a file, not a task
                await asyncio.sleep(0.01)
        path.unlink()
        await asyncio.sleep(0.05)
        assert await keys.find("eddsa")
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


async def test_keys_for_encryption_sign_nothing(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [RSA, {**EC, "use": "enc"}]}))
    keys = KeySet(str(path))
    assert await keys.find("es256") is None
    assert await keys.find(None)  # the other one is the only one
