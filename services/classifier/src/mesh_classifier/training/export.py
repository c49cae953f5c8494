"""Writes the trained network as one ONNX graph: encoder, mean pooling, heads."""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from mesh_classifier.calibration import LABELS, MAX_VALENCE
from mesh_classifier.training.network import Heads, PooledEncoder

# The exporter itself names values after operators, so that "embedding" would be taken.
POOLED = "pooled_states"
# What every graph takes and gives, whatever the recipe and the precision.
SIGNATURE: Mapping[str, Mapping[str, Any]] = {
    "inputs": {
        "input_ids": {"dtype": "INT64", "shape": ["batch", "length"]},
        "attention_mask": {"dtype": "INT64", "shape": ["batch", "length"]},
    },
    "outputs": {
        "logits": {"dtype": "FP32", "shape": ["batch", len(LABELS)]},
        "valence": {"dtype": "FP32", "shape": ["batch"]},
    },
}
_MAX_POSITIONS = 512
# The outputs with their numbers of dimensions.
OUTPUTS = {"logits": 2, "valence": 1}


def export_encoder(encoder: PooledEncoder, target: Path) -> None:
    """Writes the pooled encoder as a graph for any batch size and length."""
    # Two tensors: given one twice, the exporter takes both inputs for the same.
    example = tuple(torch.ones(2, 8, dtype=torch.int64) for _ in SIGNATURE["inputs"])
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=_MAX_POSITIONS)}
    # The exporter reports on operators of packages that are not here, and on its own future.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            encoder,
            example,
            target,
            input_names=list(SIGNATURE["inputs"]),
            output_names=[POOLED],
            dynamic_shapes=(sizes, sizes),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def attach_heads(encoder: Path, heads: Heads, target: Path) -> None:
    """Puts the heads behind an exported encoder, so that the graph gives `logits` and `valence`."""
    model = onnx.load(encoder)
    graph = model.graph
    constants: dict[str, npt.NDArray[Any]] = {
        "label_weight": heads.label_weight,
        "label_bias": heads.label_bias,
        "valence_weight": heads.valence_weight,
        "valence_bias": heads.valence_bias,
        "max_valence": np.array(MAX_VALENCE, dtype=np.float32),
        "last_axis": np.array([-1], dtype=np.int64),
    }
    graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in constants.items()
    )
    graph.node.extend(
        [
            helper.make_node("Gemm", [POOLED, "label_weight", "label_bias"], ["logits"]),
            helper.make_node("Gemm", [POOLED, "valence_weight", "valence_bias"], ["valence_raw"]),
            helper.make_node("Tanh", ["valence_raw"], ["valence_unit"]),
            helper.make_node("Mul", ["valence_unit", "max_valence"], ["valence_column"]),
            helper.make_node("Squeeze", ["valence_column", "last_axis"], ["valence"]),
        ]
    )
    del graph.output[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)]),
            helper.make_tensor_value_info("valence", TensorProto.FLOAT, ["batch"]),
        ]
    )
    onnx.checker.check_model(model)
    onnx.save(model, target)
