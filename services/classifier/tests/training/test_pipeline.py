"""The full recipe from end to end on few texts: what it leaves, and what it keeps for later."""

import json
from pathlib import Path

import pytest

from mesh_classifier.network import load
from mesh_classifier.training import __main__ as command
from mesh_classifier.training.report import figures
from mesh_classifier.training.variants import DATA
from mesh_pipelines.cache import exclusive
from mesh_pipelines.splits import Part
from training.conftest import SEED, TEXTS, Trained


@pytest.mark.parametrize("data", DATA)
def test_a_version_can_be_served_and_carries_its_report(
    reported: dict[str, Trained], data: str
) -> None:
    version = reported[data].version
    loaded = load(version, "int8", max_batch_size=4, threads=1)
    (answer,) = loaded.network.classify(16, ["A wonderful film."])
    assert sum(answer.probabilities) == pytest.approx(1)
    settings = version.record["settings"]
    assert (settings["recipe"], settings["data"], settings["seed"]) == ("full", data, SEED)
    assert settings["best_epoch"] == settings["epochs"] == 1
    assert {"report.json", "label-errors.json"} <= version.files.keys()


def test_films_only_saw_no_other_source_but_is_tested_on_all(reported: dict[str, Trained]) -> None:
    report = figures.read(reported["films"].version.file(figures.FILE))
    assert list(report.parts["train"]) == list(report.parts["validation"]) == ["films"]
    assert set(report.parts["test"]) == {"films", "products", "editorials", "tweets"}
    assert set(report.label_errors.by_source) == {"films"}


def test_cleaned_leaves_the_doubtful_labels_out_of_training_only(
    reported: dict[str, Trained],
) -> None:
    whole, cleaned = (
        figures.read(reported[data].version.file(figures.FILE)) for data in ("all", "cleaned")
    )
    found = whole.label_errors.found
    assert 0 < found < TEXTS[Part.TRAIN]
    assert cleaned.label_errors.found == found

    def count(report: figures.Report, part: str) -> int:
        return sum(sum(labels.values()) for labels in report.parts[part].values())

    assert count(cleaned, "train") == count(whole, "train") - found
    for part in ("validation", "test"):
        assert cleaned.parts[part] == whole.parts[part]
    listed = json.loads(reported["all"].version.file("label-errors.json").read_bytes())
    assert len(listed) == found
    # The most doubtful first: confident learning ranks by the probability of the given label.
    probabilities = [each["probability"] for each in listed]
    assert probabilities == sorted(probabilities)


def test_the_report_says_what_the_record_says(reported: dict[str, Trained]) -> None:
    for trained in reported.values():
        report = figures.read(trained.version.file(figures.FILE))
        metrics = trained.version.record["metrics"]
        for name, found in report.slices.items():
            prefix = "" if name == figures.ALL else f"{name}_"
            for figure, estimate in (
                ("accuracy", found.three_labels.accuracy),
                ("macro_f1", found.three_labels.macro_f1),
                ("binary_macro_f1", found.binary.macro_f1),
            ):
                assert estimate.value == pytest.approx(metrics[prefix + figure], abs=1e-5)
        error = report.slices[figures.ALL].calibration_error.value
        assert error == pytest.approx(metrics["calibration_error"], abs=1e-5)
        assert error == report.calibration.error_after.value


def test_no_checkpoint_is_left_once_the_version_is_saved(
    reported: dict[str, Trained], cache: Path
) -> None:
    left = {path.name for path in (cache / "training" / "classifier" / "full").iterdir()}
    assert left == {".lock", "embeddings.safetensors", "encoder.onnx"}


def test_two_trainings_do_not_share_a_checkpoint(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "cache_path", lambda: cache)
    with exclusive(cache / "training" / "classifier" / "full", "a training"):
        assert command.main(["--recipe", "full", "--models-path", str(tmp_path)]) == 1
    assert "a training of the classifier is running" in capsys.readouterr().err
