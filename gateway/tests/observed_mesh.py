"""A mesh whose processes send all that they measure to a collector."""

import json
import re
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final, Self

import grpc
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from mesh.classifier.v1.classifier_pb2 import ClassifyRequest
from mesh.classifier.v1.classifier_pb2_grpc import ClassifierServiceStub
from otlp_collector import Collector
from processes import PATIENCE_S, Mesh, StandInService, until

CLASSIFY: Final = "/v1/classify"
METHOD: Final = "mesh.classifier.v1.ClassifierService/Classify"
OPEN_METRICS: Final = "application/openmetrics-text; version=1.0.0"


class ObservedService(StandInService):
    """The service behind the gateway, whose metrics can be read."""

    module = "observed_service"

    @property
    def admin_port(self) -> int:
        assert self._environment is not None
        return int(self._environment["MESH_CLASSIFIER_ADMIN_PORT"])


class ObservedMesh(Mesh):
    """The mesh, with a collector. Of the traces that begin in it, none is sampled."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.collector = Collector()
        telemetry: dict[str, object] = {
            "MESH_OTLP_ENDPOINT": self.collector.endpoint,
            "MESH_TRACE_SAMPLE_RATIO": "0",
            # Of the SDK: milliseconds until what has been measured is sent.
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
        }
        super().__init__(folder, **(telemetry | settings))
        self.observed = ObservedService(folder, self.service.port)
        assert self.observed._environment is not None
        self.observed._environment = {
            **self.observed._environment,
            **{name: str(value) for name, value in telemetry.items()},
        }
        self.service = self.observed

    def __enter__(self) -> Self:
        self.collector.__enter__()
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self.collector.__exit__()

    @property
    def logs(self) -> str:
        """What the processes have written."""
        return self.gateway.log + self.service.log

    def access_line(self, request_id: str) -> dict[str, Any]:
        """The line of a request in the access log, once it is there."""

        def found() -> list[dict[str, Any]]:
            lines = [json.loads(line) for line in self.gateway.log.split("\n") if line]
            return [
                line
                for line in lines
                if line["logger"] == "mesh_gateway.access" and line["request_id"] == request_id
            ]

        until(lambda: found() != [], f"the line of {request_id}")
        (line,) = found()
        return line

    def classify_by_grpc(
        self, text: str, *metadata: tuple[str, str], timeout_s: float = PATIENCE_S
    ) -> tuple[str, dict[str, str]]:
        """The label of a text, or the name of the failure's code; and the trailing metadata."""
        shown = ("authorization", f"Bearer {self.key.text}")
        with grpc.insecure_channel(self.gateway.address) as channel:
            stub: Any = ClassifierServiceStub(channel)
            try:
                response, call = stub.Classify.with_call(
                    ClassifyRequest(texts=[text]), timeout=timeout_s, metadata=(shown, *metadata)
                )
            except grpc.RpcError as error:
                failed: Any = error
                return failed.code().name, dict(failed.trailing_metadata())
            return response.results[0].classification.label, dict(call.trailing_metadata())


def scrape(port: int, accept: str = OPEN_METRICS) -> tuple[str, str]:
    """The content type and the text of a process's metrics."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/metrics", headers={"accept": accept})
        response = connection.getresponse()
        return str(response.getheader("content-type")), response.read().decode()
    finally:
        connection.close()


def samples(port: int) -> dict[str, list[Sample]]:
    """The samples of every metric by its name; what is not OpenMetrics to the letter is refused."""
    _, text = scrape(port)
    parse: Any = text_string_to_metric_families
    found: dict[str, list[Sample]] = {}
    for family in parse(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def kind_of(port: int, name: str) -> str:
    """The type of a metric."""
    found = re.search(rf"^# TYPE {name} (\w+)$", scrape(port)[1], re.MULTILINE)
    assert found is not None, name
    return found[1]
