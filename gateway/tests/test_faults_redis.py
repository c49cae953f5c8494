"""Each door and each kind of caller while Redis is gone, slow, silent, and back."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import httpx
import pytest

from chaos_mesh import (
    CLASSIFY,
    GRPC_CLASSIFY,
    GRPC_INFER,
    INFER,
    MODELS,
    ROUTES,
    FaultyMesh,
    slots_held,
)
from processes import CLASSIFIER_ALONE, until
from test_outages import plain

pytestmark = pytest.mark.full

TIMEOUT_S: Final = 1.5
"""Of each call to Redis."""
MARGIN_S: Final = 1.4
"""What the request itself and a busy machine take: less than another call to Redis would."""
FAULTS: Final = ("gone", "slow", "stalled", "back")
ONE_WAY_S: Final = 0.2
GONE: Final = ("the key store can't be reached", "the Redis of the limits can't be reached")
BACK: Final = ("the key store answers", "the limits are in Redis again")
LINES: Final = (*GONE, *BACK)
PASSES: Final = {True: "OK", False: 200}
AWAY: Final = {True: "UNAVAILABLE", False: 503}
WRONG: Final = {True: "UNAUTHENTICATED", False: 401}


class Scene:
    """A mesh in some state of its Redis, and what its callers present."""

    def __init__(self, mesh: FaultyMesh, fault: str) -> None:
        self.mesh = mesh
        self.fault = fault
        self.keys = mesh.keys()
        for kind in ("key", "limited", "token"):
            assert mesh.ask(CLASSIFY, self.keys[kind]).status == 200
        self.keys["new"] = mesh.make_key().text
        until(self._settled, "the log's lines of what was before")
        self._said = self._lines()

    @property
    def away(self) -> bool:
        return self.fault in {"gone", "stalled"}

    def _lines(self) -> Counter[str]:
        return Counter({line: self.mesh.gateway.log.count(line) for line in LINES})

    def _settled(self) -> bool:
        """Whether the log has come to say that everything is there, as at the start."""
        said = self._lines()
        pairs = [(said[gone], said[back]) for gone, back in zip(GONE, BACK, strict=True)]
        return pairs[0][0] + 1 == pairs[0][1] and pairs[1][0] == pairs[1][1] and self.asked()

    @property
    def said(self) -> dict[str, int]:
        """How often the log has said since that something is away, or back."""
        return {line: count - self._said[line] for line, count in self._lines().items()}

    @property
    def store(self) -> str:
        """What /ready must say of the key store."""
        return "unavailable" if self.away else "ready"

    def asked(self) -> bool:
        """Whether a known caller passes."""
        return self.mesh.ask(CLASSIFY, self.keys["key"]).status == 200

    def begin(self) -> None:
        match self.fault:
            case "gone":
                self.mesh.proxy.refuse()
            case "stalled":
                self.mesh.proxy.stall()
            case "slow":
                self.mesh.proxy.pass_on(ONE_WAY_S)
                self.mesh.proxy.cut()  # so that connecting is slow, too
        until(lambda: self.mesh.gateway.state()["key_store"] == self.store, "the notice")

    def end(self) -> None:
        self.mesh.proxy.pass_on()
        until(lambda: self.mesh.gateway.state()["key_store"] == "ready", "the return")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyMesh]:
    folder = tmp_path_factory.mktemp("faults")
    with FaultyMesh(folder, MESH_GATEWAY_REDIS_TIMEOUT_S=TIMEOUT_S) as started:
        yield started


@pytest.fixture(scope="module", params=FAULTS)
def scene(mesh: FaultyMesh, request: pytest.FixtureRequest) -> Iterator[Scene]:
    made = Scene(mesh, request.param)
    made.begin()
    yield made
    made.end()


@pytest.mark.parametrize("kind", ["key", "limited", "token", "new", "unknown"])
@pytest.mark.parametrize("route", ROUTES)
def test_each_caller_is_told_the_truth_in_time(scene: Scene, route: str, kind: str) -> None:
    over_grpc = route in {GRPC_CLASSIFY, GRPC_INFER}
    answer = scene.mesh.ask(route, scene.keys[kind])
    if kind in {"new", "unknown"} and scene.away:
        assert answer.status == AWAY[over_grpc]
        if route in {INFER, MODELS}:
            assert answer.said.startswith("the key store can't be reached")
        else:
            assert answer.said == "KEY_STORE_UNAVAILABLE"
    elif kind == "unknown":
        assert answer.status == WRONG[over_grpc]
    else:
        assert answer.status == PASSES[over_grpc]
    # Slow calls are counted, since each of them is answered: a key, its tenant, a slot, a rate.
    slow_s = 4 * 2 * ONE_WAY_S if scene.fault == "slow" else TIMEOUT_S
    assert answer.took_s < slow_s + MARGIN_S


@pytest.mark.parametrize("path", ["/health", "/ready", "/v2/health/ready"])
def test_probes_pass(scene: Scene, path: str) -> None:
    response = httpx.get(f"{scene.mesh.gateway.url}{path}")
    assert response.status_code == 200
    assert response.elapsed.total_seconds() < MARGIN_S
    if path == "/ready":
        assert response.json() == {
            "ready": True,
            "backends": CLASSIFIER_ALONE,
            "key_store": scene.store,
        }


def test_a_key_has_its_slots_and_no_more(scene: Scene) -> None:
    mesh = scene.mesh
    key = scene.keys["limited"]
    begun = mesh.service.counts().get("begun", 0)
    headers = {"x-api-key": key, "x-request-timeout-ms": "6000"}

    def wait() -> int:
        url = f"{mesh.gateway.url}{CLASSIFY}"
        return httpx.post(url, json={"texts": ["wait"]}, headers=headers, timeout=30).status_code

    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(wait) for _ in range(2)]
        until(lambda: mesh.service.counts()["begun"] == begun + 2, "two requests in flight")
        refused = mesh.ask(CLASSIFY, key)
        assert (refused.status, refused.said) == (429, "QUOTA_EXCEEDED")
        assert [each.result() for each in waiting] == [504, 504]
    until(lambda: mesh.ask(CLASSIFY, key).status == 200, "a free slot")
    until(mesh.gateway.at_rest, "rest")
    until(lambda: slots_held(mesh.redis.url) == 0, "the return of the slots")


def test_operators_are_told_once(scene: Scene) -> None:
    """After everything above: once, not once a request."""
    expected = {line: int(scene.away and line in GONE) for line in LINES}
    until(lambda: scene.said[GONE[1]] == expected[GONE[1]], "the line of the limits")
    assert scene.said == expected
    if scene.fault == "stalled":
        assert f"no answer in {TIMEOUT_S:g} s" in scene.mesh.gateway.log
    metrics = scene.mesh.gateway.metrics()
    assert f"mesh_key_store_up {float(not scene.away)}" in plain(metrics)
    scene.end()
    if scene.away:
        # The limits notice it with the next request that asks for them.
        until(lambda: scene.asked() and scene.said[BACK[1]] > 0, "the news of the return")
        assert set(scene.said.values()) == {1}
