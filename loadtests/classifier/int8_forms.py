"""What each form of INT8 costs and gains: quality, flips in company, speed, size.

Takes the fp32 graph of the version in production. Quality is that on all texts that were not trained
on, each form run as it would be served; `flipped` is the share of labels that differ between a text
alone and one in a run of 32 of unlike lengths, `unlike fp32` the share that differs from fp32. Speed
is in texts for each second of CPU time, on one thread, the forms in turn, so that other work on the
machine disturbs it little; read the ratios.

    services/classifier/.venv-training/bin/python loadtests/classifier/int8_forms.py --models-path .mesh/models
"""  # noqa: E501  # the command is one line

import argparse
import logging
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from forms import Form, forms

from mesh_classifier.calibration import choose_labels, probabilities
from mesh_classifier.training.data import Examples, load_examples
from mesh_classifier.training.encoding import Rows, run_graph, tokenize
from mesh_classifier.training.evaluate import describe
from mesh_classifier.training.export import OUTPUTS
from mesh_classifier.training.measure import Calibration, measure_invariance
from mesh_classifier.training.recipe import Outputs
from mesh_classifier.training.sources import RATED_TEXTS, fetch_all
from mesh_pipelines.splits import Part
from mesh_pipelines.text_encoder import MAX_LENGTH, PAD_ID
from meshkit import store
from meshkit.onnx import TextGraph, TextTokenizer, pad

CALIBRATION_TEXTS = 400
INVARIANCE_TEXTS = 640
SPEED_TEXTS = 320
# The widest run that a service makes by default.
BATCH_SIZE = 16


@dataclass
class Result:
    """The figures of one form."""

    form: Form
    graph: Path
    accuracy: float
    macro_f1: float
    flipped: float
    moved: float
    labels: np.ndarray
    speed: float = 0.0
    speed_alone: float = 0.0


def main() -> int:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models-path", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    onnxruntime.set_default_logger_severity(3)
    logging.disable(logging.WARNING)  # the quantisers report each node
    version = store.resolve(options.models_path, "classifier")
    record = version.record
    calibration = Calibration(record["temperature"], record["thresholds"])
    examples = load_examples(fetch_all()[RATED_TEXTS], record["settings"]["seed"])
    tokenizer = TextTokenizer(version.file("tokenizer.json"), MAX_LENGTH)
    unseen = join(examples[Part.VALIDATION], examples[Part.TEST])
    rows = tokenize(tokenizer, unseen.texts)
    spread = np.linspace(0, len(examples[Part.TRAIN]) - 1, CALIBRATION_TEXTS, dtype=np.int64)
    known = forms(tokenize(tokenizer, examples[Part.TRAIN].select(spread).texts), BATCH_SIZE)
    with tempfile.TemporaryDirectory() as folder:
        results: dict[str, Result] = {}
        for name, form in known.items():
            graph = version.file("model.fp32.onnx")
            if form.write:
                target = Path(folder) / f"{len(results)}.onnx"
                form.write(graph, target)
                graph = target
            results[name] = judge(form, graph, unseen, rows, calibration)
        time_all(results, rows[:: len(rows) // SPEED_TEXTS], options.rounds)
        report(results)
    return 0


def join(first: Examples, second: Examples) -> Examples:
    """The texts of two parts, mixed."""
    order = np.random.default_rng(0).permutation(len(first) + len(second))
    return Examples(
        first.texts + second.texts,
        np.concatenate([first.sources, second.sources]),
        np.concatenate([first.shares, second.shares]),
        np.concatenate([first.valences, second.valences]),
        np.concatenate([first.labels, second.labels]),
    ).select(order)


def judge(
    form: Form, graph: Path, unseen: Examples, rows: Rows, calibration: Calibration
) -> Result:
    """How good a form is, and how much company changes its answers."""
    outputs = Outputs(*run_graph(graph, OUTPUTS, rows, batch_size=form.batch_size))
    figures = describe(unseen, outputs, calibration.temperature, calibration.thresholds)
    # A form that only ever has one text in a run is free of neighbours.
    flipped, moved = 0.0, 0.0
    if form.batch_size > 1:
        some = rows[:: len(rows) // INVARIANCE_TEXTS]
        invariance = measure_invariance(graph, some, calibration)
        flipped, moved = invariance["flipped_share"], invariance["max_probability_change"]
    shares = probabilities(outputs.logits, calibration.temperature)
    return Result(
        form=form,
        graph=graph,
        accuracy=figures["accuracy"],
        macro_f1=figures["macro_f1"],
        flipped=flipped,
        moved=moved,
        labels=choose_labels(shares, calibration.thresholds),
    )


def time_all(results: dict[str, Result], rows: Rows, rounds: int) -> None:
    """Times every form, in turn, alone and as it would be served; keeps the medians."""
    by_length = sorted(rows, key=len)
    sessions = {name: TextGraph(each.graph, OUTPUTS, threads=1) for name, each in results.items()}
    speeds: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for name, session in sessions.items():
            for size in {1, results[name].form.batch_size}:
                speeds.setdefault((name, size), []).append(speed(session, by_length, size))
    for name, each in results.items():
        each.speed = statistics.median(speeds[name, each.form.batch_size])
        each.speed_alone = statistics.median(speeds[name, 1])


def speed(session: TextGraph, rows: Rows, size: int) -> float:
    """Texts for each second of CPU time."""
    began = time.process_time()
    for start in range(0, len(rows), size):
        session.run(*pad(rows[start : start + size], PAD_ID))
    return len(rows) / (time.process_time() - began)


def report(results: dict[str, Result]) -> None:
    """Prints the table."""
    base = results["fp32"]
    lines = [
        "| form | texts a run | accuracy | macro-F1 | flipped | moved | unlike fp32 | texts/s "
        "| times fp32 | texts/s alone | MiB |",
        "| --- |" + " --- |" * 10,
    ]
    for name, each in results.items():
        cells = [
            name,
            f"{each.form.batch_size}",
            f"{each.accuracy:.2%}",
            f"{each.macro_f1:.2%}",
            f"{each.flipped:.2%}",
            f"{each.moved:.0e}",
            f"{np.mean(each.labels != base.labels):.2%}",
            f"{each.speed:.0f}",
            f"{each.speed / base.speed:.2f}",
            f"{each.speed_alone:.0f}",
            f"{each.graph.stat().st_size / 2**20:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
