"""Speeds are of every run, in CPU time."""

from mesh_classifier.training.encoding import BATCH_SIZE
from mesh_classifier.training.export import OUTPUTS
from mesh_classifier.training.report import speed
from meshkit.onnx import TextGraph
from training.conftest import Trained

ROWS = [[101, *range(1000, 1000 + length), 102] for length in range(1, 34)]


def test_every_text_is_run(trained: Trained) -> None:
    session = TextGraph(trained.version.file("model.int8.onnx"), OUTPUTS, threads=1)
    times = speed.run_times_s(session, ROWS, BATCH_SIZE)
    assert len(times) == -(-len(ROWS) // BATCH_SIZE)
    assert all(seconds > 0 for seconds in times)


def test_graphs_are_compared_by_name(trained: Trained) -> None:
    graphs = {name: trained.version.file(f"model.{name}.onnx") for name in ("fp32", "int8")}
    found = speed.compare(graphs, ROWS)
    assert list(found) == ["fp32", "int8"]
    for each in found.values():
        # A text alone takes no less than its share of a run in company, but for noise.
        assert each.median_ms_alone > 0
        assert each.texts_per_cpu_second > 0
