"""The clock of the gateway alone is set an hour forward or back while it serves."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import httpx
import pytest

from chaos_mesh import CLASSIFY, GRPC_CLASSIFY, INFER, ROUTES, FaultyMesh
from made_tokens import by_pyjwt
from meshkit.rates import Rate
from processes import PATIENCE_S, until

pytestmark = pytest.mark.full

HOUR_S: Final = 3600
STEPS: Final = (HOUR_S, -HOUR_S)
WAIT_S: Final = 4.0


def library() -> Path | None:
    """The library that shows a process another time, where it is installed and works here."""
    found = importlib.util.find_spec("libfaketime")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
    shown = subprocess.run(
        [sys.executable, "-c", "import time; print(time.time())"],
        env={**os.environ, "LD_PRELOAD": str(path), "FAKETIME": f"+{HOUR_S}"},
        capture_output=True,
        check=True,
    ).stdout
    return path if float(shown) > time.time() + HOUR_S / 2 else None


class ClockedMesh(FaultyMesh):
    """A mesh whose gateway has a clock of its own."""

    def __init__(self, folder: Path, preload: Path) -> None:
        super().__init__(folder)
        self._clock = folder / "clock"
        self.gateway.environment.update(
            LD_PRELOAD=str(preload),
            FAKETIME_TIMESTAMP_FILE=str(self._clock),
            FAKETIME_NO_CACHE="1",
            FAKETIME_DONT_FAKE_MONOTONIC="1",
        )
        self._write(0)

    def set_clock(self, ahead_s: int) -> None:
        """Sets the clock of the gateway that far from everybody else's, and waits until it is."""
        self._write(ahead_s)
        until(lambda: abs(self._ahead_s() - ahead_s) < HOUR_S / 4, "the step")

    def _write(self, ahead_s: int) -> None:
        new = self._clock.with_suffix(".new")
        new.write_text(f"{ahead_s:+}\n")
        new.rename(self._clock)

    def _ahead_s(self) -> float:
        told = httpx.get(f"{self.gateway.url}/health").headers["date"]
        return parsedate_to_datetime(told).timestamp() - time.time()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClockedMesh]:
    preload = library()
    if preload is None:
        pytest.skip("libfaketime does not work on this machine, so no process gets its own clock")
    with ClockedMesh(tmp_path_factory.mktemp("clocked"), preload) as mesh:
        yield mesh


@pytest.fixture
def mesh(started: ClockedMesh) -> Iterator[ClockedMesh]:
    yield started
    started.set_clock(0)


@pytest.mark.parametrize("step_s", STEPS)
def test_deadlines_are_not_told_by_the_clock(mesh: ClockedMesh, step_s: int) -> None:
    key = mesh.make_key(max_concurrent=2)
    headers = {"x-api-key": key.text, "x-request-timeout-ms": str(int(WAIT_S * 1000))}
    begun = mesh.service.counts().get("begun", 0)

    def wait() -> tuple[int, float]:
        began_s = time.monotonic()
        url = f"{mesh.gateway.url}{CLASSIFY}"
        answer = httpx.post(url, json={"texts": ["wait"]}, headers=headers, timeout=PATIENCE_S)
        return answer.status_code, time.monotonic() - began_s

    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(wait)
        until(lambda: mesh.service.counts().get("begun", 0) > begun, "a request in flight")
        mesh.set_clock(step_s)
        status, took_s = waiting.result()
    assert (status, took_s >= WAIT_S) == (504, True)
    assert took_s < HOUR_S / 4
    for route in ROUTES:
        assert mesh.ask(route, key.text).status in {200, "OK"}
    until(mesh.gateway.at_rest, "rest")


def test_limits_go_by_the_time_of_redis(mesh: ClockedMesh) -> None:
    key = mesh.make_key(rate=Rate(3, "h", 3))
    with mesh.client(key) as client:
        for ahead_s in (0, HOUR_S, -HOUR_S):
            mesh.set_clock(ahead_s)
            assert client.post(CLASSIFY, json={"texts": ["a"]}).status_code == 200
        for ahead_s in (HOUR_S, -HOUR_S):
            mesh.set_clock(ahead_s)
            refused = client.post(CLASSIFY, json={"texts": ["a"]})
            assert refused.status_code == 429
            # A third of an hour after the first one.
            assert 1000 < int(refused.headers["retry-after"]) <= 1200


@pytest.mark.parametrize("route", [CLASSIFY, GRPC_CLASSIFY])
def test_a_key_expires_by_the_clock(mesh: ClockedMesh, route: str) -> None:
    half_an_hour = datetime.now(UTC) + timedelta(minutes=30)
    key = mesh.make_key(expires_at=half_an_hour).text
    passes = {CLASSIFY: 200, GRPC_CLASSIFY: "OK"}[route]
    for ahead_s, said in ((0, ""), (HOUR_S, "KEY_EXPIRED"), (-HOUR_S, "")):
        mesh.set_clock(ahead_s)
        answer = mesh.ask(route, key)
        assert answer.said == said
        assert (answer.status == passes) == (said == "")


def test_a_token_is_judged_by_the_clock(mesh: ClockedMesh) -> None:
    token = by_pyjwt(scope="classifier")  # for five minutes from now
    assert mesh.ask(CLASSIFY, token).status == 200
    mesh.set_clock(HOUR_S)
    # Though it was believed a moment ago.
    assert mesh.ask(CLASSIFY, token)[:2] == (401, "TOKEN_EXPIRED")
    mesh.set_clock(-HOUR_S)
    assert mesh.ask(CLASSIFY, by_pyjwt(sub="bob", scope="classifier"))[:2] == (
        401,
        "TOKEN_NOT_YET_VALID",
    )
    # What an operator is told: to look at the clocks.
    assert "check the clocks" in mesh.ask(INFER, by_pyjwt(sub="eve", scope="classifier")).said
    mesh.set_clock(0)
    assert mesh.ask(CLASSIFY, token).status == 200
