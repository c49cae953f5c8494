"""W3C trace context through both doors, to what the service is told."""

import json
import re
from typing import Any

import pytest

from observed_mesh import CLASSIFY, ObservedMesh

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"
DOORS = ("http", "grpc")


def told(mesh: ObservedMesh, door: str, *headers: tuple[str, str]) -> dict[str, str]:
    """The metadata that the service gets of a request with these headers."""
    if door == "grpc":
        said, _ = mesh.classify_by_grpc("metadata", *headers)
    else:
        with mesh.client() as client:
            response = client.post(
                CLASSIFY,
                json={"texts": ["metadata"]},
                headers=[*client.headers.items(), *headers],
            )
        said = response.json()["results"][0]["label"]
    metadata: dict[str, Any] = json.loads(said)
    return metadata


def parts(traceparent: str) -> tuple[str, str, str]:
    """Trace, span and flags, once the form is checked."""
    found = re.fullmatch("00-([0-9a-f]{32})-([0-9a-f]{16})-(0[0-3])", traceparent)
    assert found is not None, traceparent
    return found[1], found[2], found[3]


@pytest.mark.parametrize("door", DOORS)
class TestBothDoors:
    @pytest.mark.parametrize("flags", ["00", "01"])
    def test_a_trace_goes_on_with_the_decision_of_its_caller(
        self, observed: ObservedMesh, door: str, flags: str
    ) -> None:
        found = told(observed, door, ("traceparent", f"00-{TRACE}-{SPAN}-{flags}"))
        trace_id, span_id, said = parts(found["traceparent"])
        assert (trace_id, said) == (TRACE, flags)
        assert span_id not in (SPAN, "0" * 16)

    def test_a_trace_begins_where_none_came(self, observed: ObservedMesh, door: str) -> None:
        traces = {parts(told(observed, door)["traceparent"]) for _ in range(3)}
        assert len({trace_id for trace_id, _, _ in traces}) == 3
        # Not sampled, and random in all its bits.
        assert {flags for _, _, flags in traces} == {"02"}

    @pytest.mark.parametrize(
        "malformed",
        [
            f"00-{TRACE}-{SPAN}",
            f"00-{TRACE}-{SPAN}-1",
            f"00-{TRACE}-{SPAN}-011",
            f"00-{TRACE[:-1]}-{SPAN}-01",
            f"00-{TRACE}0-{SPAN}-01",
            f"00-{TRACE}-{SPAN[:-1]}-01",
            f"00-{'0' * 32}-{SPAN}-01",
            f"00-{TRACE}-{'0' * 16}-01",
            f"00-{TRACE.upper()}-{SPAN}-01",
            f"00-{TRACE}-{SPAN.upper()}-01",
            f"ff-{TRACE}-{SPAN}-01",
            f"0-{TRACE}-{SPAN}-01",
            f"00-{TRACE}-{SPAN}-0x",
            f"00-{TRACE}-{SPAN}-01-more",
            f"01-{TRACE}-{SPAN}-01more",
            f"00_{TRACE}_{SPAN}_01",
            "",
            "-" * 55,
            f"cc-{TRACE}-{SPAN}-01-{'x' * 1000}",
        ],
    )
    def test_a_malformed_one_begins_another(
        self, observed: ObservedMesh, door: str, malformed: str
    ) -> None:
        found = told(observed, door, ("traceparent", malformed), ("tracestate", "vendor=1"))
        trace_id, _, _ = parts(found["traceparent"])
        assert trace_id.lower() != TRACE
        assert "tracestate" not in found

    @pytest.mark.parametrize("newer", [f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-09-what-ever"])
    def test_a_later_version_is_read_as_far_as_it_is_known(
        self, observed: ObservedMesh, door: str, newer: str
    ) -> None:
        trace_id, _, flags = parts(told(observed, door, ("traceparent", newer))["traceparent"])
        assert (trace_id, flags) == (TRACE, "01")

    @pytest.mark.parametrize(
        ("sent", "kept"),
        [
            (["vendor=opaque value,tenant@other=1*"], "vendor=opaque value,tenant@other=1*"),
            (["a=1 , ,b=2"], "a=1,b=2"),
            (["a=1", "b=2"], "a=1,b=2"),
            ([",".join(f"k{number}=v" for number in range(32))], None),
            (["a=1,a=2"], ""),
            (["A=1"], ""),
            (["a=1,b"], ""),
            ([f"a={'x' * 257}"], ""),
            ([",".join(f"k{number}=v" for number in range(33))], ""),
        ],
    )
    def test_tracestate_is_kept_whole_or_not_at_all(
        self, observed: ObservedMesh, door: str, sent: list[str], kept: str | None
    ) -> None:
        headers = [("tracestate", value) for value in sent]
        found = told(observed, door, ("traceparent", GOOD), *headers)
        assert parts(found["traceparent"])[0] == TRACE
        assert found.get("tracestate", "") == (sent[0] if kept is None else kept)

    def test_nothing_else_goes_on(self, observed: ObservedMesh, door: str) -> None:
        found = told(
            observed,
            door,
            ("traceparent", GOOD),
            ("baggage", "user=alice"),
            ("x-mesh-tenant", "other"),
            ("x-b3-traceid", TRACE),
            ("custom", "1"),
        )
        assert set(found) == {
            "x-request-id",
            "x-mesh-hops",
            "x-mesh-key-id",
            "x-mesh-tenant",
            "traceparent",
        }
        assert found["x-mesh-tenant"] == "shop"


def test_two_parents_are_none(observed: ObservedMesh) -> None:
    # Over HTTP alone: of two in gRPC metadata, gRPC itself passes on the last.
    other = f"00-{TRACE[::-1]}-{SPAN}-01"
    found = told(observed, "http", ("traceparent", GOOD), ("traceparent", other))
    assert parts(found["traceparent"])[0] not in (TRACE, TRACE[::-1])


def test_tracestate_is_exported_with_the_spans(observed: ObservedMesh) -> None:
    trace_id = "00000000000000000000000000000abc"
    told(observed, "http", ("traceparent", f"00-{trace_id}-{SPAN}-01"), ("tracestate", "vendor=1"))
    spans = observed.collector.whole(trace_id, 3)
    assert [span.state for span in spans] == ["vendor=1"] * 3
