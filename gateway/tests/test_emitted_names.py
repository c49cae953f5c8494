"""What the processes emit, against the names that the OpenTelemetry conventions have for it.

The names here are written out, and not taken from the code that is tested.
"""

import secrets
from typing import Any

import grpc
import pytest
from prometheus_client.samples import Sample

from observed_mesh import CLASSIFY, METHOD, ObservedMesh, kind_of, samples, scrape
from otlp_collector import Span
from processes import PATIENCE_S, until

BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
HTTP = "http_server_request_duration_seconds"
RPC_SERVER = "rpc_server_call_duration_seconds"
RPC_CLIENT = "rpc_client_call_duration_seconds"
# Labels by metric: those that it always has, and those that it may have.
LABELS: dict[str, tuple[set[str], set[str]]] = {
    HTTP: (
        {"http_request_method", "url_scheme", "http_route", "http_response_status_code"},
        {"error_type"},
    ),
    RPC_SERVER: ({"rpc_system_name", "rpc_method", "rpc_response_status_code"}, {"error_type"}),
    RPC_CLIENT: (
        {
            "rpc_system_name",
            "rpc_method",
            "rpc_response_status_code",
            "server_address",
            "server_port",
        },
        {"error_type"},
    ),
    "mesh_client_endpoints": ({"mesh_target"}, set()),
    "mesh_client_breakers": ({"mesh_target", "mesh_breaker_state"}, set()),
    "mesh_client_outstanding": ({"mesh_target"}, set()),
    "mesh_client_retries_total": ({"mesh_target", "mesh_retry_outcome"}, set()),
    "mesh_cpu_threads": (set(), set()),
    "mesh_key_store_up": (set(), set()),
    "mesh_record_lookups_total": ({"mesh_lookup_kind", "mesh_lookup_outcome"}, set()),
    "mesh_requests_in_flight": (set(), set()),
    "mesh_calls_in_flight": (set(), set()),
    "mesh_limit_decisions_total": ({"mesh_limit_outcome"}, set()),
    "mesh_http_refused_total": ({"mesh_refusal"}, set()),
    "mesh_ledger_waiting": (set(), set()),
    "mesh_settlements_waiting": (set(), set()),
}
CLOSED: dict[str, set[str]] = {
    "http_request_method": {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "_OTHER"},
    "http_route": {
        CLASSIFY,
        "/health",
        "/ready",
        "/docs",
        "/openapi.json",
        "/v2/models/{model}/infer",
        "other",
    },
    "url_scheme": {"http", "https"},
    "rpc_system_name": {"grpc"},
    "rpc_method": {METHOD, "_OTHER"},
    # A 5xx status, or a code of gRPC.
    "error_type": {"500", "501", "502", "503", "504", *(code.name for code in grpc.StatusCode)},
    "mesh_target": {"classifier", "embedder", "llm"},
    "mesh_limit_outcome": {"passed", "refused", "refused_here"},
    "mesh_lookup_kind": {"key", "tenant"},
    "mesh_lookup_outcome": {"fetched", "stale", "failed"},
    "mesh_refusal": {"MALFORMED_HTTP"},
}
# Of the Prometheus client and of the exporter, about the process itself.
OF_THE_PROCESS = ("python_", "process_", "target_info")


def call_unknown(target: str, method: str) -> grpc.StatusCode:
    with grpc.insecure_channel(target) as channel:
        call: Any = channel.unary_unary(f"/{method}")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=PATIENCE_S)
    failed: Any = caught.value
    code: grpc.StatusCode = failed.code()
    return code


@pytest.fixture(scope="module")
def busy(observed: ObservedMesh) -> ObservedMesh:
    """The mesh after traffic of every kind, much of it under names that nobody knows."""
    with observed.client() as client:
        for number in range(20):
            client.get(f"/scan/{number}?{secrets.token_hex(8)}")
            client.request("PROPFIND", f"/scan/{number}")
            client.post(f"/v2/models/m{number}/infer", json={"inputs": []})
            call_unknown(observed.gateway.address, f"a.Service{number}/Method")
        for text in ("good", "", "fault"):
            client.post(CLASSIFY, json={"texts": [text]})
            observed.classify_by_grpc(text)
    return observed


def measured(mesh: ObservedMesh) -> dict[str, list[Sample]]:
    """The gateway's and the service's samples that are not about the process."""
    found: dict[str, list[Sample]] = {}
    for port in (mesh.gateway.admin_port, mesh.observed.admin_port):
        for name, of_one in samples(port).items():
            if not name.startswith(OF_THE_PROCESS):
                found.setdefault(name, []).extend(of_one)
    return found


def test_every_metric_has_its_name_and_its_labels(busy: ObservedMesh) -> None:
    for name, found in measured(busy).items():
        if name.endswith("_created"):
            continue
        family = name
        for part in ("_bucket", "_count", "_sum"):
            family = family.removesuffix(part)
        assert family in LABELS, f"{name} is in no list"
        always, sometimes = LABELS[family]
        for sample in found:
            labels = set(sample.labels) - {"le"}
            assert always <= labels <= always | sometimes, sample


def test_labels_come_from_closed_sets(busy: ObservedMesh) -> None:
    found = measured(busy)
    for sample in (each for of_one in found.values() for each in of_one):
        for label, value in sample.labels.items():
            if label in CLOSED:
                assert value in CLOSED[label], sample
    assert len(found[f"{HTTP}_count"]) < 30
    assert len(found[f"{RPC_SERVER}_count"]) < 30


@pytest.mark.parametrize("name", [HTTP, RPC_SERVER, RPC_CLIENT])
def test_durations_are_histograms_of_seconds(busy: ObservedMesh, name: str) -> None:
    port = busy.gateway.admin_port
    assert kind_of(port, name) == "histogram"
    found = samples(port)
    bounds = {float(sample.labels["le"]) for sample in found[f"{name}_bucket"]}
    assert bounds == {*BOUNDS, float("inf")}
    # In seconds: nothing here takes minutes, and in milliseconds it would all be more.
    for total, count in zip(found[f"{name}_sum"], found[f"{name}_count"], strict=True):
        assert 0 < total.value / count.value < 60


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("gateway", "http.server.request.duration"),
        ("gateway", "rpc.client.call.duration"),
        ("gateway", "rpc.server.call.duration"),
        ("observed_service", "rpc.server.call.duration"),
    ],
)
def test_a_collector_gets_the_same(busy: ObservedMesh, service: str, name: str) -> None:
    def found() -> Any:
        return busy.collector.metric(service, name)

    # It may be exported before there is anything to say.
    until(lambda: bool((metric := found()) and metric.histogram.data_points), name)
    metric = found()
    assert metric.unit == "s"
    for point in metric.histogram.data_points:
        assert list(point.explicit_bounds) == BOUNDS
        assert sum(point.bucket_counts) == point.count > 0
        assert point.min * point.count <= point.sum * 1.000001
        assert point.sum <= point.max * point.count * 1.000001


def errors_of(mesh: ObservedMesh, name: str) -> set[tuple[str, str | None]]:
    """Status and `error.type` of what a metric of the gateway has counted."""
    found = samples(mesh.gateway.admin_port)[f"{name}_count"]
    status = "http_response_status_code" if name == HTTP else "rpc_response_status_code"
    return {(sample.labels[status], sample.labels.get("error_type")) for sample in found}


def test_faults_have_an_error_type_and_mistakes_have_none(busy: ObservedMesh) -> None:
    assert {("200", None), ("400", None), ("404", None), ("500", "500")} <= errors_of(busy, HTTP)
    assert {
        ("OK", None),
        ("INVALID_ARGUMENT", None),
        ("INTERNAL", "INTERNAL"),
        ("UNIMPLEMENTED", "UNIMPLEMENTED"),
    } <= errors_of(busy, RPC_SERVER)
    # For who asks, every status but OK is an error.
    assert {
        ("OK", None),
        ("INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("INTERNAL", "INTERNAL"),
    } <= errors_of(busy, RPC_CLIENT)
    for name in (RPC_SERVER, RPC_CLIENT):
        assert all(error in (None, status) for status, error in errors_of(busy, name))


def sampled() -> tuple[str, str]:
    trace_id = secrets.token_hex(16)
    return trace_id, f"00-{trace_id}-{secrets.token_hex(8)}-01"


def ask(mesh: ObservedMesh, text: str) -> list[Span]:
    """The spans of a request over HTTP."""
    trace_id, traceparent = sampled()
    with mesh.client() as client:
        headers = {"traceparent": traceparent, "x-request-id": trace_id}
        client.post(f"{CLASSIFY}?secret=1", json={"texts": [text]}, headers=headers)
    return mesh.collector.whole(trace_id, 3)


def test_spans_have_the_attributes_of_the_conventions(observed: ObservedMesh) -> None:
    at_door, call, at_service = ask(observed, "good")
    request_id = at_door.trace_id
    assert (at_door.name, at_door.kind) == ("POST /v1/classify", "server")
    assert at_door.attributes == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "url.path": "/v1/classify",
        "http.route": "/v1/classify",
        "http.response.status_code": 200,
        "mesh.request_id": request_id,
        "mesh.tenant": "shop",
    }
    assert (call.name, call.kind) == ("mesh.classifier.v1.ClassifierService/Classify", "client")
    assert call.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "mesh.classifier.v1.ClassifierService/Classify",
        "rpc.response.status_code": "OK",
        "server.address": "127.0.0.1",
        "server.port": observed.service.port,
        "mesh.request_id": request_id,
    }
    assert at_service.name == "mesh.classifier.v1.ClassifierService/Classify"
    assert at_service.kind == "server"
    assert at_service.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "mesh.classifier.v1.ClassifierService/Classify",
        "rpc.response.status_code": "OK",
        "mesh.request_id": request_id,
        "mesh.tenant": "shop",
    }


def test_spans_of_a_fault_say_what_it_was(observed: ObservedMesh) -> None:
    at_door, call, at_service = ask(observed, "fault")
    assert at_door.attributes["error.type"] == "500"
    assert call.attributes["error.type"] == at_service.attributes["error.type"] == "INTERNAL"
    assert [span.is_error for span in (at_door, call, at_service)] == [True] * 3


def test_a_callers_mistake_is_an_error_for_who_asks_alone(observed: ObservedMesh) -> None:
    at_door, call, at_service = ask(observed, "")
    assert [span.is_error for span in (at_door, call, at_service)] == [False, True, False]
    assert call.attributes["error.type"] == "INVALID_ARGUMENT"
    assert at_door.attributes.keys() & {"error.type"} == set()
    assert at_service.attributes.keys() & {"error.type"} == set()


def test_what_is_unknown_is_other_with_its_own_name_beside(observed: ObservedMesh) -> None:
    trace_id, traceparent = sampled()
    with observed.client() as client:
        client.request("PROPFIND", "/none", headers={"traceparent": traceparent})
    span = observed.collector.one(lambda each: each.trace_id == trace_id, "the span")
    assert span.name == "HTTP"
    assert span.attributes["http.request.method"] == "_OTHER"
    assert span.attributes["http.request.method_original"] == "PROPFIND"
    assert (span.attributes["http.route"], span.attributes["url.path"]) == ("other", "/none")


def test_an_unknown_method_of_grpc_too(observed: ObservedMesh) -> None:
    trace_id, traceparent = sampled()
    with grpc.insecure_channel(observed.gateway.address) as channel:
        call: Any = channel.unary_unary("/a.Service/Unknown")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=PATIENCE_S, metadata=(("traceparent", traceparent),))
    failed: Any = caught.value
    assert failed.code() is grpc.StatusCode.UNIMPLEMENTED
    request_id = dict(failed.trailing_metadata())["x-request-id"]
    span = observed.collector.one(lambda each: each.trace_id == trace_id, "the span")
    assert span.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "_OTHER",
        "rpc.method_original": "a.Service/Unknown",
        "rpc.response.status_code": "UNIMPLEMENTED",
        "error.type": "UNIMPLEMENTED",
        "mesh.request_id": request_id,
    }
    line = observed.access_line(request_id)
    assert (line["path"], line["route"], line["status"]) == ("a.Service/Unknown", "_OTHER", 501)


def test_a_service_counts_unknown_methods_under_one_name(observed: ObservedMesh) -> None:
    target = f"127.0.0.1:{observed.service.port}"
    for number in range(3):
        assert call_unknown(target, f"a.Service/M{number}") is grpc.StatusCode.UNIMPLEMENTED
    found = samples(observed.observed.admin_port)[f"{RPC_SERVER}_count"]
    counts = {sample.labels["rpc_method"]: sample.value for sample in found}
    assert counts["_OTHER"] == 3
    assert not any("a.Service" in method for method in counts)


def test_a_stranger_that_asks_for_what_is_not_there_fills_no_queue(observed: ObservedMesh) -> None:
    with grpc.insecure_channel(observed.gateway.address) as channel:
        call: Any = channel.unary_unary("/a.Service/Unknown")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=PATIENCE_S)
    failed: Any = caught.value
    trace_id = observed.access_line(dict(failed.trailing_metadata())["x-request-id"])["trace_id"]
    ask(observed, "fault")
    assert observed.collector.spans(trace_id) == []


class TestExemplars:
    @pytest.mark.parametrize("at", ["gateway", "service"])
    def test_sampled_requests_are_examples(self, observed: ObservedMesh, at: str) -> None:
        at_door, call, at_service = ask(observed, "good")
        if at == "gateway":
            port, wanted = observed.gateway.admin_port, {HTTP: at_door, RPC_CLIENT: call}
        else:
            port, wanted = observed.observed.admin_port, {RPC_SERVER: at_service}
        found = samples(port)
        for name, span in wanted.items():
            examples = [each.exemplar for each in found[f"{name}_bucket"] if each.exemplar]
            ids = {"trace_id": span.trace_id, "span_id": span.span_id}
            (ours,) = [example for example in examples if example.labels == ids]
            assert ours.value == pytest.approx(span.seconds, abs=2e-9)

    def test_faults_are_examples_too(self, observed: ObservedMesh) -> None:
        with observed.client() as client:
            response = client.post(CLASSIFY, json={"texts": ["fault"]})
        line = observed.access_line(response.headers["x-request-id"])
        found = samples(observed.gateway.admin_port)[f"{HTTP}_bucket"]
        ids = {each.exemplar.labels["trace_id"] for each in found if each.exemplar}
        assert line["trace_id"] in ids

    def test_other_requests_are_none(self, observed: ObservedMesh) -> None:
        with observed.client() as client:
            response = client.post(CLASSIFY, json={"texts": ["good"]})
        line = observed.access_line(response.headers["x-request-id"])
        assert line["trace_id"] not in scrape(observed.gateway.admin_port)[1]

    def test_only_open_metrics_has_them(self, observed: ObservedMesh) -> None:
        ask(observed, "good")
        kind, text = scrape(observed.gateway.admin_port)
        assert kind.startswith("application/openmetrics-text; version=1.0.0")
        assert " # {" in text
        assert text.endswith("# EOF\n")
        kind, text = scrape(observed.gateway.admin_port, "text/plain; version=0.0.4")
        assert kind.startswith("text/plain")
        assert " # {" not in text
        assert HTTP in text

    def test_a_collector_gets_them(self, observed: ObservedMesh) -> None:
        at_door, _, _ = ask(observed, "good")

        def examples() -> set[str]:
            metric = observed.collector.metric("gateway", "http.server.request.duration")
            points = metric.histogram.data_points if metric else []
            return {each.trace_id.hex() for point in points for each in point.exemplars}

        until(lambda: at_door.trace_id in examples(), "the exemplar")
