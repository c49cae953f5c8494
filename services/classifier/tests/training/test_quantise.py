"""The INT8 form of small graphs, against the same arithmetic in numpy."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mesh_classifier.training.quantise import quantise

WIDTH = 24
random = np.random.default_rng(0)
FIRST = random.normal(0, 0.3, (WIDTH, 7)).astype(np.float32)
SECOND = random.normal(0, 3, (WIDTH, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two products with constants that share an input, and one of two inputs."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "first"], ["a"]),
            helper.make_node("MatMul", ["x", "second"], ["b"]),
            helper.make_node("MatMul", ["x", "turned"], ["c"]),
        ],
        "products",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length", WIDTH]),
            helper.make_tensor_value_info("turned", TensorProto.FLOAT, ["batch", WIDTH, "length"]),
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "length", width])
            for name, width in (("a", 7), ("b", 5), ("c", "length"))
        ],
        [numpy_helper.from_array(FIRST, "first"), numpy_helper.from_array(SECOND, "second")],
    )
    return write(graph, tmp_path_factory.mktemp("products"))


def write(graph: onnx.GraphProto, folder: Path) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, folder / "fp32.onnx")
    quantise(folder / "fp32.onnx", folder / "int8.onnx")
    return folder / "int8.onnx"


def run(graph: Path, **inputs: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    outputs: list[np.ndarray] = session.run(None, inputs)
    return outputs


def by_hand(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The product in 8 bits: integers for each row of x and, of 7 bits, each column of weight."""
    rows = np.maximum(np.abs(x).max(axis=-1, keepdims=True), np.float32(1e-12)) / np.float32(127)
    columns = np.abs(weight).max(axis=0, keepdims=True) / 64
    codes = np.rint(x / rows).astype(np.int64)
    product: np.ndarray = codes @ np.rint(weight / columns).astype(np.int64) * rows * columns
    return product


def both(x: np.ndarray, graph: Path) -> list[np.ndarray]:
    return run(graph, x=x, turned=np.ascontiguousarray(x.transpose(0, 2, 1)))


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-6, 1.0, 1e6]))
def test_products_are_those_of_the_codes(products: Path, seed: int, scale: float) -> None:
    x = np.random.default_rng(seed).normal(0, scale, (2, 3, WIDTH)).astype(np.float32)
    first, second, between = both(x, products)
    for given_, weight in ((first, FIRST), (second, SECOND)):
        expected = by_hand(x, weight)
        np.testing.assert_allclose(given_, expected, rtol=1e-5, atol=np.abs(expected).max() * 1e-6)
    np.testing.assert_allclose(between, x @ x.transpose(0, 2, 1), rtol=1e-4, atol=scale**2 * 1e-4)


def test_a_product_is_near_that_of_the_numbers(products: Path) -> None:
    x = np.random.default_rng(3).normal(0, 1, (4, 6, WIDTH)).astype(np.float32)
    exact = x @ FIRST
    error = np.abs(both(x, products)[0] - exact).mean() / np.abs(exact).mean()
    assert error < 0.02


def test_a_row_does_not_depend_on_its_neighbours(products: Path) -> None:
    x = np.random.default_rng(4).normal(0, 1, (5, 6, WIDTH)).astype(np.float32)
    x[1] *= 1000
    together = both(x, products)[0]
    for index in range(len(x)):
        alone = both(x[index : index + 1], products)[0]
        np.testing.assert_array_equal(together[index], alone[0])


def test_a_row_of_zeros_gives_zeros(products: Path) -> None:
    first, second, _ = both(np.zeros((1, 2, WIDTH), dtype=np.float32), products)
    assert not first.any()
    assert not second.any()


def test_no_sum_of_two_products_overflows_16_bits(products: Path) -> None:
    """Processors without VNNI add such pairs in 16 bits, and would saturate."""
    model = onnx.load(products)
    codes = [
        numpy_helper.to_array(tensor).astype(np.int64)
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.INT8
    ]
    assert len(codes) == 2
    for each in codes:
        assert np.abs(each).max() == 64
        assert 255 * np.abs(each).max() * 2 < 2**15


def test_large_tables_are_kept_in_8_bits_and_small_ones_as_they_are(tmp_path: Path) -> None:
    tables = {
        "large": random.normal(0, 1, (9000, 32)).astype(np.float32),
        "small": random.normal(0, 1, (16, 32)).astype(np.float32),
    }
    tables["large"][3] *= 100
    graph = helper.make_graph(
        [helper.make_node("Gather", [name, "places"], [f"{name}_rows"]) for name in tables],
        "tables",
        [helper.make_tensor_value_info("places", TensorProto.INT64, ["n"])],
        [
            helper.make_tensor_value_info(f"{name}_rows", TensorProto.FLOAT, ["n", 32])
            for name in tables
        ],
        [numpy_helper.from_array(table, name) for name, table in tables.items()],
    )
    path = write(graph, tmp_path)
    places = np.array([0, 3, 3, 15])
    large, small = run(path, places=places)
    np.testing.assert_array_equal(small, tables["small"][places])
    wanted = tables["large"][places]
    assert (np.abs(large - wanted) <= np.abs(wanted).max(axis=1, keepdims=True) / 254 * 1.001).all()
    assert path.stat().st_size < (tmp_path / "fp32.onnx").stat().st_size / 3
