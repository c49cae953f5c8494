"""The forms of INT8 that `int8_forms.py` compares: each writes one graph from an fp32 graph."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.matmul_nbits_quantizer import (
    DefaultWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
)

from mesh_classifier.training.encoding import Rows
from mesh_classifier.training.quantise import quantise
from mesh_pipelines.text_encoder import PAD_ID
from meshkit.onnx import ATTENTION_MASK, INPUT_IDS, pad

Write = Callable[[Path, Path], None]


@dataclass(frozen=True)
class Form:
    """A way to quantise a graph and to run it."""

    write: Write | None
    """Writes the second path from the first; None for the fp32 graph as it is."""
    batch_size: int
    """Texts in one run, as it would be served."""


def forms(calibration: Rows, batch_size: int) -> Mapping[str, Form]:
    """Every form by its name; `calibration` are training texts, for static scales."""
    return {
        "fp32": Form(None, batch_size),
        "dynamic, one scale a run": Form(_dynamic, batch_size),
        "dynamic, one text a run": Form(_dynamic, 1),
        "static, calibrated": Form(_static(calibration), batch_size),
        "blocks of 32 (MatMulNBits)": Form(_blocks, batch_size),
        "one scale a token": Form(quantise, batch_size),
    }


def _dynamic(graph: Path, target: Path) -> None:
    quantize_dynamic(graph, target, weight_type=QuantType.QInt8, per_channel=True)


def _static(calibration: Rows) -> Write:
    def write(graph: Path, target: Path) -> None:
        quantize_static(
            graph,
            target,
            _Texts(calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"MatMulConstBOnly": True},
        )

    return write


def _blocks(graph: Path, target: Path) -> None:
    config = DefaultWeightOnlyQuantConfig(
        block_size=32, is_symmetric=True, accuracy_level=4, bits=8
    )
    quantizer = MatMulNBitsQuantizer(onnx.load(graph), algo_config=config)
    quantizer.process()
    quantizer.model.save_model_to_file(str(target))


class _Texts(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    """Feeds single texts to the calibration."""

    def __init__(self, rows: Rows) -> None:
        self._feeds = self._all(rows)

    def get_next(self) -> dict[str, npt.NDArray[np.int64]] | None:
        """The next text; None after the last."""
        return next(self._feeds, None)

    def _all(self, rows: Rows) -> Iterator[dict[str, npt.NDArray[np.int64]]]:
        for row in rows:
            ids, mask = pad([row], PAD_ID)
            yield {INPUT_IDS: ids, ATTENTION_MASK: mask}
