"""Every error of the mesh, raised by a service, as callers see it at each door."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2, status_pb2

from door_calls import Call, classify, infer
from meshkit import error_table
from meshkit.errors import MeshError
from meshkit.renderings import from_status, to_openai
from oip_calls import INFER, refusal, text
from problems import problem
from processes import Mesh, until
from stand_in import MAX_TEXT_BYTES
from stand_in_errors import CLASSES, MESSAGE, ask_for

CLASSIFY = "/v1/classify"
INTERNAL = "internal error; the log of the service has the cause under this request id"
# More than 256 KiB, so that the gateway makes a call of its own for it.
LARGE = ["a" * MAX_TEXT_BYTES] * 5
CALLERS_FAULT, OUR_FAULT = "invalid_request_error", "server_error"


class Look(NamedTuple):
    """How an error looks."""

    reason: str
    grpc: str
    http: int
    openai_type: str
    openai_code: str | None
    retry_s: float | None = None
    retry_after: str | None = None


LOOKS = {
    "InvalidArgument": Look("INVALID_ARGUMENT", "INVALID_ARGUMENT", 400, CALLERS_FAULT, None),
    "PayloadTooLarge": Look(
        "PAYLOAD_TOO_LARGE", "RESOURCE_EXHAUSTED", 413, CALLERS_FAULT, "payload_too_large"
    ),
    "Unauthenticated": Look(
        "UNAUTHENTICATED", "UNAUTHENTICATED", 401, CALLERS_FAULT, "unauthenticated"
    ),
    "PermissionDenied": Look(
        "PERMISSION_DENIED", "PERMISSION_DENIED", 403, CALLERS_FAULT, "permission_denied"
    ),
    "NotFound": Look("NOT_FOUND", "NOT_FOUND", 404, CALLERS_FAULT, "not_found"),
    "Overloaded": Look("OVERLOADED", "RESOURCE_EXHAUSTED", 503, OUR_FAULT, "overloaded", 2.5, "3"),
    "QuotaExceeded": Look(
        "QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED", 429, "requests", "rate_limit_exceeded", 61.25, "62"
    ),
    "Unavailable": Look("UNAVAILABLE", "UNAVAILABLE", 503, OUR_FAULT, "unavailable", 0.0, "1"),
    "DeadlineExceeded": Look(
        "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", 504, OUR_FAULT, "deadline_exceeded"
    ),
    "Cancelled": Look("CANCELLED", "CANCELLED", 499, OUR_FAULT, "cancelled"),
    "Unimplemented": Look("UNIMPLEMENTED", "UNIMPLEMENTED", 501, OUR_FAULT, "unimplemented"),
    "Internal": Look("INTERNAL", "INTERNAL", 500, OUR_FAULT, "internal"),
    "UnknownError": Look("UNKNOWN", "UNKNOWN", 500, OUR_FAULT, "unknown"),
}
every_error = pytest.mark.parametrize("name", LOOKS)


@pytest.fixture(scope="module")
def module_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with Mesh(tmp_path_factory.mktemp("errors")) as started:
        yield started


@pytest.fixture
def mesh(module_mesh: Mesh) -> Mesh:
    """One whose service has just answered well, or its breaker would open on so many errors."""
    with module_mesh.client() as client:
        for _ in range(3):
            client.post(CLASSIFY, json={"texts": ["a"]}).raise_for_status()
    return module_mesh


@pytest.fixture
async def channel(mesh: Mesh) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(mesh.gateway.address) as opened:
        yield opened


def test_every_error_is_here() -> None:
    assert LOOKS.keys() == CLASSES.keys()
    assert set(CLASSES.values()) == set(MeshError.__subclasses__())


@every_error
def test_the_page_of_errors_says_the_same(name: str) -> None:
    """All but the one that no process of the mesh makes."""
    look = LOOKS[name]
    rows = [row.split(" | ") for row in error_table.markdown().splitlines()]
    found = [row[1:3] + row[4:6] for row in rows if row[0] == f"| `{look.reason}`"]
    code = f"`{look.openai_code}`" if look.openai_code else "null"
    again = "no" if look.retry_s is None else "yes"
    row = [look.grpc, str(look.http), f"`{look.openai_type}`, {code}", again]
    assert found == ([] if name == "UnknownError" else [row])


@every_error
@pytest.mark.parametrize("more", [[], LARGE], ids=["over the stream", "in a call of its own"])
def test_over_http_it_is_a_problem(mesh: Mesh, name: str, more: list[str]) -> None:
    look = LOOKS[name]
    with mesh.client() as client:
        response = client.post(CLASSIFY, json={"texts": [ask_for(name), *more]})
    body = problem(response, look.http)
    assert (body["code"], body["reason"]) == (look.grpc, look.reason)
    assert body["detail"] == MESSAGE
    assert body["retryable"] is (look.retry_s is not None)
    fields = [{"field": "texts[0]", "description": "is wrong"}]
    assert body.get("violations") == (fields if name == "InvalidArgument" else None)
    assert body.get("violated-policies") == (["key"] if name == "QuotaExceeded" else None)
    _check_headers(response, look)


@every_error
def test_by_the_open_inference_protocol_it_is_a_message(mesh: Mesh, name: str) -> None:
    look = LOOKS[name]
    with mesh.client() as client:
        response = client.post(INFER, json={"inputs": [text(ask_for(name))]})
    assert refusal(response, look.http) == MESSAGE
    _check_headers(response, look)


def _check_headers(response: httpx.Response, look: Look) -> None:
    assert response.headers.get("retry-after") == look.retry_after
    assert ("www-authenticate" in response.headers) is (look.http == 401)


@every_error
@pytest.mark.parametrize("call", [classify, infer])
async def test_at_the_grpc_door_it_is_a_status_with_details(
    mesh: Mesh, channel: grpc.aio.Channel, name: str, call: Call
) -> None:
    look = LOOKS[name]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(channel, mesh.key, ask_for(name))
    code, details, trailing = _parts(caught.value)
    assert (code, details) == (look.grpc, MESSAGE)
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    assert status.message == MESSAGE
    told = {each.TypeName().removeprefix("google.rpc."): each for each in status.details}
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert told["ErrorInfo"].Unpack(info)
    assert (info.reason, info.domain) == (look.reason, "mesh")
    assert dict(info.metadata) == ({"max_message_bytes": "7"} if look.http == 413 else {})
    also = {"InvalidArgument": {"BadRequest"}, "QuotaExceeded": {"QuotaFailure"}}.get(name, set())
    again = set() if look.retry_s is None else {"RetryInfo"}
    assert told.keys() == {"ErrorInfo"} | also | again
    if look.retry_s is None:
        assert "grpc-retry-pushback-ms" not in trailing
    else:
        assert told["RetryInfo"].Unpack(retry)
        assert retry.retry_delay.ToMicroseconds() == look.retry_s * 1e6
        assert trailing["grpc-retry-pushback-ms"] == str(int(look.retry_s * 1000))


@every_error
async def test_in_the_form_of_openai_it_is_an_error_object(
    mesh: Mesh, channel: grpc.aio.Channel, name: str
) -> None:
    """As a route would render what the service said; that is read from the wire here."""
    look = LOOKS[name]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await classify(channel, mesh.key, ask_for(name))
    _, details, trailing = _parts(caught.value)
    value: int = caught.value.code().value[0]
    error = from_status(value, details, trailing["grpc-status-details-bin"])
    assert to_openai(error) == {
        "error": {
            "message": MESSAGE,
            "type": look.openai_type,
            "param": "texts[0]" if name == "InvalidArgument" else None,
            "code": look.openai_code,
        }
    }


async def test_a_fault_shows_nothing_of_itself_at_any_door(
    mesh: Mesh, channel: grpc.aio.Channel
) -> None:
    with mesh.client() as client:
        native = client.post(CLASSIFY, json={"texts": ["fault"]})
        large = client.post(CLASSIFY, json={"texts": ["fault", *LARGE]})
        oip = client.post(INFER, json={"inputs": [text("fault")]})
    assert problem(native, 500)["detail"] == problem(large, 500)["detail"] == INTERNAL
    assert refusal(oip, 500) == INTERNAL
    told = "".join(f"{each.headers}{each.text}" for each in (native, large, oip))
    for call in (classify, infer):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, mesh.key, "fault")
        code, details, trailing = _parts(caught.value)
        assert (code, details) == ("INTERNAL", INTERNAL)
        told += str(trailing)
    assert "secret" not in told
    assert "Zero" not in told
    await asyncio.to_thread(
        until,
        lambda: mesh.service.log.count("a secret of the implementation") >= 5,
        "the causes in the service's log",
    )


def _parts(error: grpc.aio.AioRpcError) -> tuple[str, str, dict[str, Any]]:
    """The name of the code, the message, and the metadata that came with them."""
    metadata: Any = error.trailing_metadata()
    return error.code().name, error.details() or "", dict(metadata)


def test_the_log_has_the_cause_of_faults_alone(own_mesh: Mesh) -> None:
    """What is raised to be seen by callers is no fault, and leaves no stack trace."""
    with own_mesh.client() as client:
        for name in LOOKS:
            client.post(CLASSIFY, json={"texts": [ask_for(name)]})
    assert "Traceback" not in own_mesh.service.log
    assert "Traceback" not in own_mesh.gateway.log
