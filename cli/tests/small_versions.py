"""Versions of a classifier that is real and small: it adds up what it knows of the words."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from meshkit.store_write import write_version

MODEL = "classifier"
LABELS = ["negative", "neutral", "positive"]
# What a word adds to the logits and to the valence.
WORDS = {
    "good": (-2.0, 0.0, 2.0, 1.0),
    "bad": (2.0, 0.0, -2.0, -1.0),
    "train": (0.0, 2.0, 0.0, 0.0),
}


def add_version(home: Path, folder: Path, run: str, **changes: Any) -> str:
    """Saves a version by the name `run`; `changes` are keys of its record."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("model.fp32.onnx", "model.int8.onnx", "tokenizer.json", "config.json")
    files = {name: folder / name for name in names}
    for name in names[:2]:  # too small to be worth another precision
        files[name].write_bytes(graph().SerializeToString())
    files["tokenizer.json"].write_text(json.dumps(tokenizer()))
    files["config.json"].write_text('{"max_length": 32, "pad_id": 0}')
    return write_version(home, MODEL, run, files, record(**changes))


def record(**changes: Any) -> dict[str, Any]:
    figures = {"accuracy": 0.7, "macro_f1": 0.6, "calibration_error": 0.03, "texts": 100.0}
    alike = {"max_batch_size": 8, "flipped_share": 0.0, "max_probability_change": 1e-7}
    return {
        "labels": LABELS,
        "temperature": 1.0,
        "thresholds": dict.fromkeys(LABELS, 0.33),
        "default_precision": "fp32",
        "metrics": figures,
        "metrics_by_precision": {"fp32": figures, "int8": figures},
        "batch_invariance": {"fp32": alike, "int8": alike},
        "parity": {"max_logit_difference": 1e-6, "max_valence_difference": 1e-6},
        "sources": {"rated-texts": {"version": "1", "files": {"texts.gz": "ab" * 32}}},
        "git_commit": "c0ffee",
        "settings": {"recipe": "quick", "seed": 20},
        **changes,
    }


def tokenizer() -> dict[str, Any]:
    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }


def graph() -> onnx.ModelProto:
    table = np.array([(0, 0, 0, 0), (0, 0, 0, 0), *WORDS.values()], np.float32)
    constants: dict[str, np.ndarray[Any, Any]] = {
        "table": table,
        "last": np.array([2], np.int64),
        "second": np.array([1], np.int64),
        "sizes": np.array([3, 1], np.int64),
        "most": np.array(4, np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["words", "column"], ["counted"]),
        helper.make_node("ReduceSum", ["counted", "second"], ["sums"], keepdims=0),
        helper.make_node("Split", ["sums", "sizes"], ["logits", "strength"], axis=1),
        helper.make_node("Tanh", ["strength"], ["unit"]),
        helper.make_node("Mul", ["unit", "most"], ["valences"]),
        helper.make_node("Squeeze", ["valences", "second"], ["valence"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3]),
        helper.make_tensor_value_info("valence", TensorProto.FLOAT, ["batch"]),
    ]
    stored = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    whole = helper.make_graph(nodes, "words", inputs, outputs, stored)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return model
