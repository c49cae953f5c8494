"""Writes the INT8 form of a graph, in which a text's answer does not depend on its neighbours.

Dynamic quantisation as it is usual takes one scale over all activations of a run, so that a loud
neighbour changes an answer. Here every token has a scale of its own, written in plain operators:

    codes = round(x * 127 / max|x|) + 128        uint8, one scale for each row of x
    x @ w ~ (codes @ codes of w) * scale of row * scale of column

Integer products are exact, so they are also the same on every processor: weights have 7 bits, since
x86 without VNNI adds two products of 8 by 8 bits in 16 bits, which 8-bit weights would overflow.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

_WEIGHT_LEVELS = 64
_TABLE_LEVELS = 127
_ACTIVATION_LEVELS = 127
# A row of zeros keeps a scale above zero.
_LEAST = 1e-12
# Smaller tables gain nothing.
_MIN_TABLE_BYTES = 1 << 20

Array = npt.NDArray[np.float32]

_CONSTANTS: dict[str, npt.NDArray[Any]] = {
    "quantise_axis": np.array([-1], dtype=np.int64),
    "quantise_levels": np.array(_ACTIVATION_LEVELS, dtype=np.float32),
    "quantise_least": np.array(_LEAST, dtype=np.float32),
    "quantise_one": np.array(1, dtype=np.float32),
    "quantise_zero": np.array(128, dtype=np.uint8),
}


def quantise(graph: Path, target: Path) -> None:
    """Writes `graph` with 8-bit products in place of its products with constants.

    Products of activations with each other, normalisation, softmax, pooling and the heads stay in
    fp32. Large tables of embeddings are kept in 8 bits, with a scale for each row.
    """
    model = onnx.load(graph)
    quantiser = _Quantiser(model.graph)
    nodes = [new for node in model.graph.node for new in quantiser.replace(node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, target)


class _Quantiser:
    """Replaces nodes one by one, in the order of the graph, and keeps its constants up to date."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._rows: set[str] = set()
        for name, array in _CONSTANTS.items():
            self._add(name, array)

    def replace(self, node: NodeProto) -> Iterator[NodeProto]:
        """The nodes that stand for this one from now on."""
        if node.op_type == "MatMul" and node.input[1] in self._constants:
            yield from self._product(node)
        elif node.op_type == "Gather" and self._is_large_table(node.input[0]):
            yield from self._lookup(node)
        else:
            yield node

    def _product(self, node: NodeProto) -> Iterator[NodeProto]:
        inputs, weight = node.input
        (output,) = node.output
        codes, scales = _codes(self._take(weight), axis=0, levels=_WEIGHT_LEVELS)
        self._add(f"{weight}_codes", codes)
        self._add(f"{weight}_scales", scales)
        if inputs not in self._rows:  # several products may share an input
            self._rows.add(inputs)
            yield from _quantise_rows(inputs)
        operands = [f"{inputs}_codes", f"{weight}_codes", "quantise_zero"]
        yield helper.make_node("MatMulInteger", operands, [f"{output}_sums"])
        yield helper.make_node(
            "Cast", [f"{output}_sums"], [f"{output}_float"], to=TensorProto.FLOAT
        )
        by_row = [f"{output}_float", f"{inputs}_scales"]
        yield helper.make_node("Mul", by_row, [f"{output}_by_row"])
        yield helper.make_node("Mul", [f"{output}_by_row", f"{weight}_scales"], [output])

    def _lookup(self, node: NodeProto) -> Iterator[NodeProto]:
        table, places = node.input
        (output,) = node.output
        codes, scales = _codes(self._take(table), axis=1, levels=_TABLE_LEVELS)
        self._add(f"{table}_codes", codes)
        self._add(f"{table}_scales", scales)
        yield helper.make_node("Gather", [f"{table}_codes", places], [f"{output}_codes"])
        yield helper.make_node("Gather", [f"{table}_scales", places], [f"{output}_scales"])
        yield helper.make_node(
            "Cast", [f"{output}_codes"], [f"{output}_float"], to=TensorProto.FLOAT
        )
        yield helper.make_node("Mul", [f"{output}_float", f"{output}_scales"], [output])

    def _is_large_table(self, name: str) -> bool:
        tensor = self._constants.get(name)
        return tensor is not None and tensor.ByteSize() >= _MIN_TABLE_BYTES

    def _take(self, name: str) -> Array:
        """Removes a constant from the graph and returns its value."""
        tensor = self._constants.pop(name)
        self._graph.initializer.remove(tensor)
        return numpy_helper.to_array(tensor)

    def _add(self, name: str, array: npt.NDArray[np.generic]) -> None:
        self._graph.initializer.append(numpy_helper.from_array(array, name))


def _codes(weights: Array, axis: int, levels: int) -> tuple[npt.NDArray[np.int8], Array]:
    """Codes in [-levels, levels], and the scales along `axis` that turn them back."""
    scales = np.maximum(np.abs(weights).max(axis=axis, keepdims=True), _LEAST) / levels
    return np.rint(weights / scales).astype(np.int8), scales.astype(np.float32)


def _to_float(integers: str, output: str) -> NodeProto:
    return helper.make_node("Cast", [integers], [output], to=TensorProto.FLOAT)


def _quantise_rows(name: str) -> Iterator[NodeProto]:
    """Gives `<name>_codes`, uint8 around 128, and `<name>_scales`, one for each row."""

    def part(suffix: str) -> str:
        return f"{name}_{suffix}"

    for reduce, end in (("ReduceMax", "highest"), ("ReduceMin", "lowest")):
        yield helper.make_node(reduce, [name, "quantise_axis"], [part(end)], keepdims=1)
    yield helper.make_node("Neg", [part("lowest")], [part("depth")])
    ends = [part("highest"), part("depth"), "quantise_least"]
    yield helper.make_node("Max", ends, [part("range")])
    yield helper.make_node("Div", [part("range"), "quantise_levels"], [part("scales")])
    yield helper.make_node("Div", [name, part("scales")], [part("levels")])
    levels = [part("levels"), "quantise_one", "quantise_zero"]
    yield helper.make_node("QuantizeLinear", levels, [part("codes")])
