"""The ONNX parts on small real graphs and tokenizers, made here."""

import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from meshkit.errors import StartError
from meshkit.onnx import (
    TextGraph,
    TextTokenizer,
    bucket_of,
    cuda_available,
    pad,
    session_options,
)

VOCABULARY = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "good": 4, "bad": 5}
MAX_LENGTH = 6
# One vector of three for each token: the graph adds up those of a text.
TABLE = np.arange(18, dtype=np.float32).reshape(6, 3)
OUTPUTS = {"logits": 2, "valence": 1}


@pytest.fixture
def tokenizer(tmp_path: Path) -> TextTokenizer:
    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # As a published file may have them; neither may reach the model.
    tokenizer.enable_padding(length=128)
    tokenizer.enable_truncation(3)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return TextTokenizer(tmp_path / "tokenizer.json", MAX_LENGTH)


def save_graph(
    path: Path, outputs: Sequence[str] = ("logits", "valence"), ids_type: int = TensorProto.INT64
) -> Path:
    """Writes a graph that adds up the vectors of a text's tokens and of all its numbers."""
    constants = {"table": TABLE, "tokens": np.array([1]), "last": np.array([-1])}
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"]),
        helper.make_node("Cast", ["attention_mask"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weights", "last"], ["column"]),
        helper.make_node("Mul", ["vectors", "column"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "tokens"], ["logits"], keepdims=0),
        helper.make_node("ReduceSum", ["logits", "last"], ["valence"], keepdims=0),
    ]
    shapes: dict[str, list[str | int | None]] = {"logits": ["batch", 3], "valence": ["batch"]}
    graph = helper.make_graph(
        nodes,
        "sums",
        [
            helper.make_tensor_value_info("input_ids", ids_type, ["batch", "length"]),
            helper.make_tensor_value_info("attention_mask", ids_type, ["batch", "length"]),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    return path


@pytest.fixture
def graph(tmp_path: Path) -> TextGraph:
    return TextGraph(save_graph(tmp_path / "model.onnx"), OUTPUTS, threads=1)


# Tokens.


def test_tokenizes_texts_of_any_length_without_padding(tokenizer: TextTokenizer) -> None:
    short, longer = tokenizer.encode(["good", "bad unheard good"])
    assert list(short.ids) == [2, 4, 3]
    assert list(longer.ids) == [2, 5, 1, 4, 3]


@pytest.mark.parametrize(("words", "truncated"), [(1, False), (4, False), (5, True), (5000, True)])
def test_truncation_is_told_exactly(tokenizer: TextTokenizer, words: int, truncated: bool) -> None:
    (tokens,) = tokenizer.encode(["good " * words])
    assert tokens.truncated is truncated
    assert len(tokens.ids) == min(words + 2, MAX_LENGTH)
    # What is cut off is the text's end, never the closing token.
    assert tokens.ids[-1] == VOCABULARY["[SEP]"]


@pytest.mark.parametrize("words", [0, 1, 4, 5, 8, 9, 5000])
def test_the_tokens_of_a_text_are_counted_however_many_are_read(
    tokenizer: TextTokenizer, words: int
) -> None:
    assert tokenizer.count("good " * words) == words + 2
    assert tokenizer.vocabulary_size == len(VOCABULARY)


@pytest.mark.parametrize(
    ("text", "ids", "truncated"),
    [
        # The beginning has enough tokens, so the rest is not looked at.
        ("good " * 20 + "bad " * 10_000, [2, 4, 4, 4, 4, 3], True),
        # The beginning is white space, so all is looked at.
        (" " * 10_000 + "bad good", [2, 5, 4, 3], False),
        # There is no space to cut at.
        ("x" * 10_000, [2, 1, 3], False),
        ("good\n" * 10_000, [2, 4, 4, 4, 4, 3], True),
        # A word lies across the place where the beginning would end.
        ("bad " + "x" * 200 + " good", [2, 5, 1, 4, 3], False),
    ],
)
def test_a_long_text_has_the_tokens_of_all_of_it(
    tokenizer: TextTokenizer, text: str, ids: list[int], truncated: bool
) -> None:
    (tokens,) = tokenizer.encode([text])
    assert (list(tokens.ids), tokens.truncated) == (ids, truncated)


def test_threads_share_a_tokenizer(tokenizer: TextTokenizer) -> None:
    texts = ["good " * count for count in range(1, 9)] * 20
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda text: tokenizer.encode([text])[0], texts))
    assert together == tokenizer.encode(texts)


# With a GPU tokenizing may cost more than the run.
@pytest.mark.parametrize(
    ("asked", "threads"), [(None, 3 if cuda_available() else 0), ("true", 3), ("false", 0)]
)
def test_texts_are_tokenized_on_the_callers_thread(
    tmp_path: Path, tokenizer: TextTokenizer, asked: str | None, threads: int
) -> None:
    code = """
import os, sys
from pathlib import Path
from meshkit.onnx import TextTokenizer
tokenizer = TextTokenizer(Path(sys.argv[1]), 6)
before = len(os.listdir("/proc/self/task"))
assert [row.ids for row in tokenizer.encode(["good"] * 64)] == [[2, 4, 3]] * 64
print(len(os.listdir("/proc/self/task")) - before)
"""
    environment = {"RAYON_NUM_THREADS": "3", "PATH": ""}
    if asked:
        environment["TOKENIZERS_PARALLELISM"] = asked
    ran = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "tokenizer.json"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(ran.stdout) == threads


@pytest.mark.parametrize("content", ["", "{}", json.dumps({"model": {"type": "Nonsense"}})])
def test_a_file_that_is_no_tokenizer_stops_the_start(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(StartError, match=r"tokenizer\.json holds no tokenizer .*; train again"):
        TextTokenizer(path, MAX_LENGTH)


# Buckets and padding.


@pytest.mark.parametrize(("length", "bucket"), [(1, 16), (16, 16), (17, 32), (64, 64)])
def test_a_text_goes_into_the_least_bucket_that_holds_it(length: int, bucket: int) -> None:
    assert bucket_of(length, [16, 32, 64]) == bucket


def test_a_text_longer_than_every_bucket_is_refused() -> None:
    with pytest.raises(ValueError, match="65 tokens fit none of the buckets"):
        bucket_of(65, [16, 32, 64])


@given(st.lists(st.lists(st.integers(0, 30_000), min_size=1, max_size=40), min_size=1, max_size=9))
def test_padding_keeps_every_token_and_masks_the_rest(rows: list[list[int]]) -> None:
    ids, mask = pad(rows, pad_id=-7)
    assert ids.dtype == mask.dtype == np.int64
    assert ids.shape == mask.shape == (len(rows), max(map(len, rows)))
    for row, padded, kept in zip(rows, ids, mask, strict=True):
        assert padded[: len(row)].tolist() == row
        assert (padded[len(row) :] == -7).all()
        assert kept.tolist() == [1] * len(row) + [0] * (ids.shape[1] - len(row))


# Graphs.


def test_runs_a_batch_and_gives_the_outputs_in_the_order_asked(graph: TextGraph) -> None:
    logits, valence = graph.run(*pad([[2, 4, 3], [5]], pad_id=0))
    expected = np.stack([TABLE[[2, 4, 3]].sum(axis=0), TABLE[5]])
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits, expected)
    np.testing.assert_array_equal(valence, expected.sum(axis=1))


def test_threads_share_a_graph(graph: TextGraph) -> None:
    def total(length: int) -> list[float]:
        return graph.run(*pad([[4] * length, [5]], pad_id=0))[0].ravel().tolist()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(total, range(1, 200))) == [total(length) for length in range(1, 200)]


@pytest.mark.skipif(cuda_available(), reason="CUDA has threads of its own")
def test_a_graph_of_one_thread_starts_none(tmp_path: Path) -> None:
    path = save_graph(tmp_path / "model.onnx")
    code = f"""
import os
from pathlib import Path
from meshkit.onnx import open_session
before = len(os.listdir("/proc/self/task"))
session = open_session(Path({str(path)!r}), threads=int(os.sys.argv[1]))
print(len(os.listdir("/proc/self/task")) - before)
"""
    for threads in ("1", "3"):
        ran = subprocess.run(
            [sys.executable, "-c", code, threads], capture_output=True, text=True, check=True
        )
        assert int(ran.stdout) == int(threads) - 1


def test_operators_that_are_slower_as_one_on_a_cpu_stay_apart_there(tmp_path: Path) -> None:
    width = 4
    nodes = [
        helper.make_node("Add", ["x", "bias"], ["biased"]),
        helper.make_node("Gelu", ["biased"], ["active"]),
        helper.make_node("Add", ["active", "x"], ["sum"]),
        helper.make_node("LayerNormalization", ["sum", "bias", "bias"], ["y"], axis=-1),
    ]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "length", width])
        for name in "xy"
    )
    bias = numpy_helper.from_array(np.ones(width, np.float32), "bias")
    graph = helper.make_graph(nodes, "layer", [x], [y], [bias])
    opset = helper.make_opsetid("", 20)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "graph")

    def operators(options: onnxruntime.SessionOptions) -> set[str]:
        options.optimized_model_filepath = str(tmp_path / "run")
        options.log_severity_level = 3  # such a graph is for this machine alone, it says
        cpu = ["CPUExecutionProvider"]
        onnxruntime.InferenceSession(tmp_path / "graph", options, providers=cpu)
        return {node.op_type for node in onnx.load(tmp_path / "run").graph.node}

    fused, apart = {"BiasGelu", "SkipLayerNormalization"}, {"Add", "Gelu", "LayerNormalization"}
    assert operators(onnxruntime.SessionOptions()) == fused
    # On CUDA all is as the runtime has it.
    assert operators(session_options(threads=1)) == (fused if cuda_available() else apart)


def test_runs_on_cuda_where_there_is_any(graph: TextGraph) -> None:
    cuda = "CUDAExecutionProvider"
    available = cuda in onnxruntime.get_available_providers()
    assert graph.provider == (cuda if available else "CPUExecutionProvider")


def test_a_file_that_is_no_graph_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(StartError, match=r"model\.onnx can't be run .*; train again"):
        TextGraph(path, OUTPUTS, threads=1)


def test_a_missing_output_stops_the_start(tmp_path: Path) -> None:
    path = save_graph(tmp_path / "model.onnx", outputs=["logits"])
    with pytest.raises(StartError, match=r"has the outputs logits tensor\(float\) of rank 2 and"):
        TextGraph(path, OUTPUTS, threads=1)


def test_an_output_of_another_rank_stops_the_start(tmp_path: Path) -> None:
    path = save_graph(tmp_path / "model.onnx")
    with pytest.raises(StartError, match=r"wants valence tensor\(float\) of rank 2"):
        TextGraph(path, {"valence": 2}, threads=1)


def test_inputs_of_another_type_stop_the_start(tmp_path: Path) -> None:
    path = save_graph(tmp_path / "model.onnx", ids_type=TensorProto.INT32)
    with pytest.raises(StartError, match=r"has the inputs input_ids tensor\(int32\) of rank 2"):
        TextGraph(path, OUTPUTS, threads=1)


def test_the_runtime_reports_its_use_to_nobody(tmp_path: Path) -> None:
    # Where it may report, it keeps an id of the machine at home, and warns where it can't.
    script = "import meshkit.onnx, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env={"HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (ran.stdout, ran.stderr) == ("1\n", "")
    assert list(tmp_path.iterdir()) == []
