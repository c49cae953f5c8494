"""Writes the INT8 form of a graph."""

import logging
from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic


def quantise(graph: Path, target: Path) -> None:
    """Writes `graph` with 8-bit weights, and activations quantised as they come."""
    logging.getLogger().setLevel(logging.ERROR)
    quantize_dynamic(graph, target, weight_type=QuantType.QInt8, per_channel=True)
