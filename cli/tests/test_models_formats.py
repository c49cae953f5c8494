"""Files that are what their names say, and every way in which one can claim to be."""

import contextlib
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from mesh_cli import models_formats
from mesh_cli.models_formats import BadFile
from meshkit import store
from small_versions import MODEL, add_version, graph

PICKLE = pickle.dumps({"weights": [1, 2, 3]})


def changed(change: Callable[[onnx.ModelProto], None]) -> bytes:
    model = graph()
    change(model)
    return model.SerializeToString()


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def external_in_a_branch(model: onnx.ModelProto) -> None:
    tensor = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[1])
    tensor.external_data.add(key="location", value="weights.bin")
    constant = helper.make_node("Constant", [], ["out"])
    constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor)
    branch = helper.make_graph([constant], "branch", [], [])
    model.graph.node.append(
        helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    )


def foreign(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.example"


def foreign_operators_declared(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def own_function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    opsets = [helper.make_opsetid("", 20)]
    function = helper.make_function("com.own", "Same", ["x"], ["y"], [node], opsets)
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("com.own", 1))
    model.graph.node[0].domain = "com.own"


def safetensors(header: object, data: bytes = b"\0" * 16) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(begin: int, end: int, **changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [(end - begin) // 4], "data_offsets": [begin, end], **changes}


def npz(**arrays: np.ndarray[Any, Any]) -> bytes:
    content = io.BytesIO()
    np.savez(content, allow_pickle=True, **arrays)
    return content.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return target.getvalue()


# 100 MB of header in 100 kB.
SWOLLEN = zipped("a.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 100_000_000) + b" " * 10**8)
TWO = {"__metadata__": {"format": "np"}, "a": tensor(0, 8), "b": tensor(8, 16)}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.onnx", graph().SerializeToString()),
        ("model.onnx", changed(own_function)),
        ("model.safetensors", safetensors(TWO)),
        ("model.safetensors", safetensors({}, b"")),
        ("arrays.npz", npz(a=np.arange(3), b=np.array(["x"]))),
        ("config.json", b'{"max_length": 128}'),
        ("vocabulary.txt", "caf\u00e9\n".encode()),
    ],
)
def test_a_file_that_is_what_its_name_says_passes(
    name: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    models_formats.check(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        *((f"x{suffix}", PICKLE, "is a pickle") for suffix in sorted(store.SUFFIXES)),
        ("model.onnx", pickle.dumps([1], protocol=0), "is no ONNX model"),
        ("model.onnx", b"", "is no ONNX model"),
        ("model.onnx", b"{}", "is no ONNX model"),
        ("model.onnx", zipped("model/data.pkl", PICKLE), "is no ONNX model"),
        ("model.onnx", changed(external), "keeps the tensor 'table' in another file"),
        ("model.onnx", changed(external_in_a_branch), "keeps the tensor 'hidden' in another"),
        ("model.onnx", changed(foreign), "has operators of com.example, which a library"),
        ("model.onnx", changed(foreign_operators_declared), "operators of com.example"),
        ("model.safetensors", b"\0\0", "it has no header"),
        ("model.safetensors", struct.pack("<Q", 2**40), "header is longer than it may be"),
        ("model.safetensors", struct.pack("<Q", 2) + b"{]", "header is no JSON"),
        ("model.safetensors", safetensors([1]), "header is no object"),
        ("model.safetensors", safetensors({"a": tensor(0, 8)}), "has 16 bytes .* says 8"),
        ("model.safetensors", safetensors({"a": tensor(8, 16)}), "a gap or an overlap at byte 0"),
        ("model.safetensors", safetensors({"a": tensor(0, 16, dtype="O")}), "'a' wrongly"),
        ("model.safetensors", safetensors({"a": tensor(0, 16, shape=[3])}), "'a' wrongly"),
        ("model.safetensors", safetensors({"a": tensor(0, 16, shape=[-4])}), "'a' wrongly"),
        ("model.safetensors", safetensors({"a": "weights"}), "'a' wrongly"),
        ("arrays.npz", npz(a=np.array([object()])), "has objects in a.npy, which are pickled"),
        ("arrays.npz", b"PK\x03\x04", "is no npz file"),
        ("arrays.npz", zipped("a.npy", PICKLE), "is no npz file"),
        ("arrays.npz", SWOLLEN, "has an index of 100000000 bytes and may have"),
        ("config.json", b"{", "is no JSON"),
        ("config.json", b"[" * 100_000, "is no JSON"),
        ("config.json", b"\xff{}", "is no UTF-8 text"),
        ("vocabulary.txt", b"a\0b", "has zero bytes"),
        ("weights.pt", b"anything", "has none of the formats .json, .npz, .onnx"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_its_name_says_is_named(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadFile, match=message):
        models_formats.check(tmp_path / name)


@given(content=st.binary(max_size=200), suffix=st.sampled_from(sorted(store.SUFFIXES)))
def test_no_bytes_make_it_fail_in_another_way(
    content: bytes, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(content)
    with contextlib.suppress(BadFile):
        models_formats.check(path)


def test_a_link_and_a_folder_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("{}")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    (tmp_path / "folder.json").mkdir()
    for name in ("link.json", "folder.json"):
        with pytest.raises(BadFile, match="is no plain file"):
            models_formats.check(tmp_path / name)


def test_a_version_is_faultless_until_something_is_put_beside_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    name = add_version(home, tmp_path / "files", "a1")
    version = store.read_version(home, MODEL, name)
    assert models_formats.faults(version) == {}
    folder = home / "models" / MODEL / name
    (folder / "weights.pkl").write_bytes(PICKLE)
    (folder / "model.fp32.onnx").write_bytes(PICKLE)
    (folder / "config.json").unlink()
    assert models_formats.faults(version) == {
        "config.json": "is missing",
        "model.fp32.onnx": "is a pickle",
        "weights.pkl": "is no file of the version; delete it",
    }
