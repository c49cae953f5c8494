"""Puts the trained heads behind the exported encoder: one ONNX graph."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from mesh_classifier.calibration import LABELS, MAX_VALENCE
from mesh_classifier.training.network import Heads
from mesh_pipelines.training.sentence_encoder import INPUTS, POOLED

# What every graph takes and gives, whatever the recipe and the precision.
SIGNATURE: Mapping[str, Mapping[str, Any]] = {
    "inputs": INPUTS,
    "outputs": {
        "logits": {"dtype": "FP32", "shape": ["batch", len(LABELS)]},
        "valence": {"dtype": "FP32", "shape": ["batch"]},
    },
}
# The outputs with their numbers of dimensions.
OUTPUTS = {"logits": 2, "valence": 1}


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
