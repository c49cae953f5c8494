"""Which spans reach a collector, how they are linked, and that errors always do."""

import secrets
import signal
from pathlib import Path

import pytest

from counter_mesh import CounterMesh
from observed_mesh import CLASSIFY, METHOD, ObservedMesh
from otlp_collector import Collector, Span
from ports import free_port
from processes import Mesh

HTTP_NAME = f"POST {CLASSIFY}"
GATEWAY, SERVICE = "gateway", "observed_service"
GATEWAY_OF_COUNTS = "counter_gateway"


def traceparent(trace_id: str, flags: str) -> str:
    return f"00-{trace_id}-{secrets.token_hex(8)}-{flags}"


def who(spans: list[Span]) -> list[tuple[str, str, str]]:
    return [(span.service, span.kind, span.name) for span in spans]


OVER_HTTP = [
    (GATEWAY, "server", HTTP_NAME),
    (GATEWAY, "client", METHOD),
    (SERVICE, "server", METHOD),
]
OVER_GRPC = [(GATEWAY, "server", METHOD), *OVER_HTTP[1:]]


def test_an_error_is_exported_though_its_trace_is_not_sampled(observed: ObservedMesh) -> None:
    with observed.client() as client:
        response = client.post(CLASSIFY, json={"texts": ["fault"]})
    assert response.status_code == 500
    trace_id = observed.access_line(response.headers["x-request-id"])["trace_id"]
    spans = observed.collector.whole(trace_id, 3)
    assert who(spans) == OVER_HTTP
    assert [span.is_error for span in spans] == [True, True, True]
    types = [span.attributes["error.type"] for span in spans]
    assert types == ["500", "INTERNAL", "INTERNAL"]
    assert spans[0].parent_id == ""
    assert spans[0].seconds >= spans[1].seconds >= spans[2].seconds > 0


def test_an_error_at_the_grpc_door_too(observed: ObservedMesh) -> None:
    code, trailing = observed.classify_by_grpc("fault")
    assert code == "INTERNAL"
    trace_id = observed.access_line(trailing["x-request-id"])["trace_id"]
    spans = observed.collector.whole(trace_id, 3)
    assert who(spans) == OVER_GRPC
    assert [span.attributes["error.type"] for span in spans] == ["INTERNAL"] * 3


def test_an_error_of_a_caller_that_did_not_sample_keeps_its_trace(observed: ObservedMesh) -> None:
    trace_id = secrets.token_hex(16)
    header = traceparent(trace_id, "00")
    with observed.client() as client:
        client.post(CLASSIFY, json={"texts": ["fault"]}, headers={"traceparent": header})
    spans = observed.collector.whole(trace_id, 3)
    assert who(spans) == OVER_HTTP
    assert spans[0].parent_id == header[36:52]


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_what_a_caller_samples_is_exported_whole(observed: ObservedMesh, door: str) -> None:
    trace_id = secrets.token_hex(16)
    header = traceparent(trace_id, "01")
    if door == "http":
        with observed.client() as client:
            client.post(CLASSIFY, json={"texts": ["good"]}, headers={"traceparent": header})
    else:
        observed.classify_by_grpc("good", ("traceparent", header))
    spans = observed.collector.whole(trace_id, 3)
    assert who(spans) == (OVER_HTTP if door == "http" else OVER_GRPC)
    assert [span.is_error for span in spans] == [False, False, False]
    assert spans[0].parent_id == header[36:52]


def test_neither_what_is_well_nor_a_callers_mistake_is_exported_unsampled(
    observed: ObservedMesh,
) -> None:
    unsampled = [secrets.token_hex(16) for _ in range(3)]
    with observed.client() as client:
        for trace_id, texts in zip(unsampled, (["good"], [""], []), strict=True):
            header = {"traceparent": traceparent(trace_id, "00")}
            client.post(CLASSIFY, json={"texts": texts}, headers=header)
        # What is sampled and comes later has been exported: so would the others have been.
        marker = secrets.token_hex(16)
        header = {"traceparent": traceparent(marker, "01")}
        client.post(CLASSIFY, json={"texts": [""]}, headers=header)
    spans = observed.collector.whole(marker, 3)
    assert [span.is_error for span in spans] == [False, True, False]
    assert [observed.collector.spans(trace_id) for trace_id in unsampled] == [[], [], []]


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_a_call_whose_time_is_over_is_exported(observed: ObservedMesh, door: str) -> None:
    trace_id = secrets.token_hex(16)
    header = traceparent(trace_id, "00")
    if door == "http":
        with observed.client() as client:
            headers = {"traceparent": header, "x-request-timeout-ms": "300"}
            response = client.post(CLASSIFY, json={"texts": ["wait"]}, headers=headers)
        assert response.status_code == 504
    else:
        code, _ = observed.classify_by_grpc("wait", ("traceparent", header), timeout_s=0.3)
        assert code == "DEADLINE_EXCEEDED"
    # The service may have been told in time, or have found out by itself.
    spans = observed.collector.whole(trace_id, 2)[:2]
    assert who(spans) == (OVER_HTTP if door == "http" else OVER_GRPC)[:2]
    at_door = "504" if door == "http" else "DEADLINE_EXCEEDED"
    assert [span.attributes["error.type"] for span in spans] == [at_door, "DEADLINE_EXCEEDED"]


def test_a_call_that_reaches_no_replica_is_exported(tmp_path: Path) -> None:
    with ObservedMesh(tmp_path) as mesh:
        mesh.service.signal(signal.SIGKILL)
        mesh.service.wait()
        with mesh.client() as client:
            response = client.post(CLASSIFY, json={"texts": ["good"]})
        assert response.status_code == 503
        trace_id = mesh.access_line(response.headers["x-request-id"])["trace_id"]
        spans = mesh.collector.whole(trace_id, 2)
        assert who(spans) == OVER_HTTP[:2]
        assert [span.attributes["error.type"] for span in spans] == ["503", "UNAVAILABLE"]


def test_what_begins_here_is_sampled_by_the_ratio(tmp_path: Path) -> None:
    with ObservedMesh(tmp_path, MESH_GATEWAY_TRACE_SAMPLE_RATIO=1) as mesh, mesh.client() as client:
        response = client.post(CLASSIFY, json={"texts": ["good"]})
        trace_id = mesh.access_line(response.headers["x-request-id"])["trace_id"]
        assert who(mesh.collector.whole(trace_id, 3)) == OVER_HTTP


def test_a_collector_that_is_away_delays_no_request_and_no_exit(tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with Mesh(tmp_path, MESH_OTLP_ENDPOINT=nowhere, MESH_TRACE_SAMPLE_RATIO=1) as mesh:
        with mesh.client() as client:
            for _ in range(10):
                assert client.post(CLASSIFY, json={"texts": ["good"]}).status_code == 200
        mesh.gateway.signal(signal.SIGTERM)
        assert mesh.gateway.wait() == 0
        assert "the collector did not take the last traces and metrics" in mesh.gateway.log


def test_what_is_not_exported_yet_is_when_the_process_stops(tmp_path: Path) -> None:
    late = 10 * 60 * 1000
    with (
        ObservedMesh(tmp_path, MESH_TRACE_SAMPLE_RATIO=1, OTEL_BSP_SCHEDULE_DELAY=late) as mesh,
        mesh.client() as client,
    ):
        response = client.post(CLASSIFY, json={"texts": ["good"]})
        trace_id = mesh.access_line(response.headers["x-request-id"])["trace_id"]
        mesh.gateway.signal(signal.SIGTERM)
        assert mesh.gateway.wait() == 0
        spans = {(span.service, span.kind) for span in mesh.collector.spans(trace_id)}
        assert {(GATEWAY, "server"), (GATEWAY, "client")} <= spans


def test_a_stream_that_ends_in_a_fault_is_exported_though_it_began_well(tmp_path: Path) -> None:
    with Collector() as collector:
        own = {"OTEL_BSP_SCHEDULE_DELAY": 50, "MESH_TRACE_SAMPLE_RATIO": 0}
        with CounterMesh(tmp_path, MESH_OTLP_ENDPOINT=collector.endpoint, **own) as mesh:
            trace_ids = [secrets.token_hex(16) for _ in range(2)]
            with mesh.client() as client:
                for trace_id, wish in zip(trace_ids, ("2", "2 fault"), strict=True):
                    headers = {"traceparent": traceparent(trace_id, "00")}
                    response = client.post("/v1/count", json={"wish": wish}, headers=headers)
                    assert response.status_code == 200
            spans = collector.whole(trace_ids[1], 2)
            assert who(spans) == [
                (GATEWAY_OF_COUNTS, "server", "POST /v1/count"),
                (GATEWAY_OF_COUNTS, "client", "counter.v1.CounterService/Count"),
            ]
            assert [span.attributes["error.type"] for span in spans] == ["INTERNAL"] * 2
            assert spans[0].attributes["http.response.status_code"] == 200
            assert collector.spans(trace_ids[0]) == []
