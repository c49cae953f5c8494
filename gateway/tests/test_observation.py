"""The access log, the metrics and the traces of requests."""

import asyncio
import errno
import io
import json
import re
import secrets
import threading
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from mesh_gateway import access_log
from mesh_gateway.access_log import AccessLog, Line
from meshkit import names
from processes import Mesh, until

CLASSIFY = "/v1/classify"


def access_lines(mesh: Mesh, request_id: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in mesh.gateway.log.splitlines() if request_id in line]
    return [line for line in lines if line["logger"] == "mesh_gateway.access"]


def test_every_request_leaves_a_line(mesh: Mesh, client: httpx.Client) -> None:
    request_id = secrets.token_hex(8)
    client.post(f"{CLASSIFY}?secret=1", json={"texts": ["a"]}, headers={"x-request-id": request_id})
    until(lambda: access_lines(mesh, request_id) != [], "the line")
    (line,) = access_lines(mesh, request_id)
    assert line["message"] == "POST /v1/classify 200"
    assert (line["level"], line["service"]) == ("INFO", "gateway")
    assert (line["method"], line["path"], line["route"]) == ("POST", CLASSIFY, CLASSIFY)
    assert (line["status"], line["key_id"], line["tenant"]) == (200, mesh.key.id, "shop")
    assert 0 < line["backend_ms"] < line["duration_ms"]
    assert re.fullmatch("[0-9a-f]{32}", line["trace_id"])
    assert datetime.fromisoformat(line["time"]).tzinfo is not None


def test_a_request_that_is_refused_leaves_one_too(mesh: Mesh, client: httpx.Client) -> None:
    request_id = secrets.token_hex(8)
    client.get("/none", headers={"x-request-id": request_id})
    until(lambda: access_lines(mesh, request_id) != [], "the line")
    (line,) = access_lines(mesh, request_id)
    assert (line["status"], line["route"], line["key_id"]) == (404, "other", None)


def test_probes_leave_none(mesh: Mesh, client: httpx.Client) -> None:
    probe, other = secrets.token_hex(8), secrets.token_hex(8)
    client.get("/health", headers={"x-request-id": probe})
    client.get("/none", headers={"x-request-id": other})
    until(lambda: access_lines(mesh, other) != [], "the other's line")
    assert access_lines(mesh, probe) == []


def line(number: int) -> Line:
    return Line(
        time=datetime(2026, 1, 1, tzinfo=UTC),
        message="",
        request_id=str(number),
        trace_id=None,
        method="GET",
        path="/",
        route="other",
        status=200,
        duration_ms=1.0,
        backend_ms=0.0,
        client=None,
        key_id=None,
        tenant=None,
    )


def dropped() -> int:
    """The count of lines that were lost, as the metric has it."""
    return access_log._dropped._counts.get((), 0)


class Out(io.BytesIO):
    """A stream that may be stuck."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = threading.Event()
        self.free = threading.Event()

    def write(self, data: Any) -> int:
        self.stuck.set()
        assert self.free.wait(60)
        return super().write(data)

    def ids(self) -> list[int]:
        return [int(json.loads(each)["request_id"]) for each in self.getvalue().splitlines()]


async def test_a_stuck_log_delays_nobody_and_drops_what_does_not_fit() -> None:
    dropped_before = dropped()
    out = Out()
    log = AccessLog(10, out)
    running = asyncio.create_task(log.run())
    log.add(line(0))
    assert await asyncio.to_thread(out.stuck.wait, 60)
    for number in range(1, 15):
        log.add(line(number))
    out.free.set()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert sorted(out.ids()) == list(range(11))
    assert dropped() - dropped_before == 4


class FullDisk(io.BytesIO):
    def write(self, data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


async def test_a_log_that_can_not_be_written_ends_nothing() -> None:
    dropped_before = dropped()
    log = AccessLog(10, FullDisk())
    running = asyncio.create_task(log.run())
    log.add(line(0))
    await asyncio.sleep(0)
    assert not running.done()
    running.cancel()
    (outcome,) = await asyncio.gather(running, return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError)
    assert dropped() - dropped_before == 1


async def test_the_last_lines_are_written_at_the_end() -> None:
    out = Out()
    out.free.set()
    log = AccessLog(10, out)
    running = asyncio.create_task(log.run())
    await asyncio.sleep(0)
    log.add(line(1))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert out.ids() == [1]


def series(mesh: Mesh, name: str) -> list[dict[str, str]]:
    """The labels of every series of a metric."""
    found = re.findall(rf"^{name}{{(.*)}} ", mesh.gateway.metrics(), re.MULTILINE)
    return [dict(re.findall(r'(\w+)="([^"]*)"', labels)) for labels in found]


def test_the_duration_of_requests_is_measured(mesh: Mesh, client: httpx.Client) -> None:
    client.post(CLASSIFY, json={"texts": ["a"]})
    labels = {
        "http_request_method": "POST",
        "http_route": CLASSIFY,
        "http_response_status_code": "200",
    }
    found = series(mesh, "http_server_request_duration_seconds_count")
    assert any(labels.items() <= each.items() for each in found)


def test_labels_come_from_closed_sets(mesh: Mesh, client: httpx.Client) -> None:
    for number in range(20):
        client.get(f"/scan/{number}")
        client.request(f"METHOD{number}", "/health")
        client.post(CLASSIFY, json={}, headers={"x-request-id": f"id-{number}"})
    found = series(mesh, "http_server_request_duration_seconds_count")
    routes = {each["http_route"] for each in found}
    documented = client.get("/openapi.json").json()["paths"].keys()
    assert {"/v1/classify", "/health", "other"} <= routes
    assert routes <= {*documented, "/docs", "/docs/assets", "/openapi.json", "other"}
    methods = {each["http_request_method"] for each in found}
    assert methods <= {"GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "_OTHER"}
    assert sum(each["http_route"] == "other" for each in found) < 10


@pytest.mark.parametrize(
    "name", [names.LOOKUPS, names.KEY_STORE_UP, names.HTTP_SERVER_DURATION, names.ENDPOINTS]
)
def test_what_is_named_is_emitted(mesh: Mesh, client: httpx.Client, name: str) -> None:
    client.post(CLASSIFY, json={"texts": ["a"]})
    until(lambda: name.replace(".", "_") in mesh.gateway.metrics(), f"the metric {name}")


def test_a_callers_trace_goes_on(mesh: Mesh, client: httpx.Client) -> None:
    trace_id, request_id = secrets.token_hex(16), secrets.token_hex(8)
    headers = {
        "traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01",
        "x-request-id": request_id,
    }
    response = client.post(CLASSIFY, json={"texts": ["trace"]}, headers=headers)
    assert response.json()["results"][0]["label"] == trace_id
    until(lambda: access_lines(mesh, request_id) != [], "the line")
    assert access_lines(mesh, request_id)[0]["trace_id"] == trace_id


@pytest.mark.parametrize("malformed", ["", "00-zz-zz-01", "x" * 1000])
def test_a_malformed_trace_is_not_followed(client: httpx.Client, malformed: str) -> None:
    response = client.post(CLASSIFY, json={"texts": ["trace"]}, headers={"traceparent": malformed})
    assert re.fullmatch("[0-9a-f]{32}", response.json()["results"][0]["label"])
