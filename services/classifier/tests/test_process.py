"""The classifier as it is started, called over gRPC, and ended by SIGTERM."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mesh.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from mesh_classifier.calibration import LABELS
from meshkit import aliases
from meshkit.store import Version
from processes import CALL_S, START_S, Process, Start


@pytest.fixture(scope="module")
def running(start: Start) -> Process:
    process = start()
    with grpc.insecure_channel(process.target) as channel:
        checker: Any = health_pb2_grpc.HealthStub(channel)  # typed without its methods
        health = checker.Check(
            health_pb2.HealthCheckRequest(service="mesh.classifier.v1.ClassifierService"),
            timeout=START_S,
            wait_for_ready=True,
        )
    assert health.status == health_pb2.HealthCheckResponse.SERVING, process.log.read_text()
    return process


@pytest.fixture
def stub(running: Process) -> Iterator[classifier_pb2_grpc.ClassifierServiceStub]:
    with grpc.insecure_channel(running.target) as channel:
        yield classifier_pb2_grpc.ClassifierServiceStub(channel)


def test_classifies(stub: classifier_pb2_grpc.ClassifierServiceStub, version: Version) -> None:
    texts = ["I love it, wonderful!", "Terrible, I hate it.", "good " * 500]
    response = stub.Classify(classifier_pb2.ClassifyRequest(texts=texts), timeout=CALL_S)
    good, bad, long = (result.classification for result in response.results)
    assert (good.label, bad.label) == ("positive", "negative")
    assert [one.label for one in good.probabilities] == list(LABELS)
    assert sum(one.probability for one in good.probabilities) == pytest.approx(1, abs=1e-12)
    assert good.valence > 0 > bad.valence
    assert (good.truncated, long.truncated) == (False, True)
    assert not good.HasField("degraded")
    lineage = response.lineage
    assert (lineage.model, lineage.version, lineage.run) == (
        "classifier",
        version.name,
        version.run,
    )
    assert (lineage.variant, lineage.deployment) == ("default", "test")
    assert not lineage.HasField("feature_age_seconds")


def test_describes_its_model(
    stub: classifier_pb2_grpc.ClassifierServiceStub, version: Version
) -> None:
    model = stub.GetModel(classifier_pb2.GetModelRequest(), timeout=CALL_S)
    assert model.lineage.version == version.name
    assert list(model.labels) == list(LABELS)
    assert (model.max_length_tokens, model.max_texts) == (256, 64)
    assert model.precision == version.record["default_precision"]
    assert dict(model.metrics) == version.record["metrics_by_precision"][model.precision]
    assert model.serving_since.ToDatetime() > model.serving_since.ToDatetime().min


def test_bad_input_is_told_in_full(stub: classifier_pb2_grpc.ClassifierServiceStub) -> None:
    request = classifier_pb2.ClassifyRequest(texts=["good", " "], allow_degraded=True)
    with pytest.raises(grpc.RpcError) as refused:
        stub.Classify(request, timeout=CALL_S)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    message = "texts[1] has nothing but white space; send a text, or leave it out"
    assert refused.value.details() == message
    trailing: Any = refused.value.trailing_metadata()
    details = dict(trailing)["grpc-status-details-bin"]
    violations = error_details_pb2.BadRequest()
    assert any(
        detail.Unpack(violations) for detail in status_pb2.Status.FromString(details).details
    )
    assert [violation.field for violation in violations.field_violations] == ["texts[1]"]


def test_a_call_without_texts_is_refused(
    stub: classifier_pb2_grpc.ClassifierServiceStub,
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        stub.Classify(classifier_pb2.ClassifyRequest(), timeout=CALL_S)
    assert refused.value.details() == "texts is empty; send one text at least"


def test_exports_what_it_does(
    stub: classifier_pb2_grpc.ClassifierServiceStub, running: Process
) -> None:
    stub.Classify(classifier_pb2.ClassifyRequest(texts=["good", "bad"]), timeout=CALL_S)
    metrics = running.metrics()
    answered = 'mesh_batch_rows_total{mesh_batcher="classifier",mesh_row_outcome="answered"'
    for line in (
        answered,
        "mesh_batch_queue_duration_seconds_bucket{",
        "mesh_batch_run_duration_seconds_count{",
        "mesh_batch_size_sum{",
        'mesh_batch_queue_depth{mesh_batcher="classifier"',
        "\nmesh_cpu_threads ",
    ):
        assert line in metrics


def test_ends_with_success_when_told_to(start: Start) -> None:
    process = start()
    with grpc.insecure_channel(process.target) as channel:
        stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
        request = classifier_pb2.ClassifyRequest(texts=["good"])
        stub.Classify(request, timeout=START_S, wait_for_ready=True)
    assert process.end() == 0, process.log.read_text()


def test_without_a_model_says_how_to_get_one(start: Start, tmp_path: Path) -> None:
    process = start(MESH_MODELS_PATH=str(tmp_path))
    assert process.process.wait(timeout=START_S) == 2
    said = process.log.read_text().splitlines()[-1]
    assert said.startswith(f"no version of classifier is in production in {tmp_path}; run `mesh")


def test_with_a_version_that_is_gone_says_so(start: Start, tmp_path: Path) -> None:
    aliases.write(tmp_path, "classifier", "gone", replaces=None)
    process = start(MESH_MODELS_PATH=str(tmp_path))
    assert process.process.wait(timeout=START_S) == 2
    assert (
        process.log.read_text().splitlines()[-1].startswith("classifier:gone is not in the store")
    )
