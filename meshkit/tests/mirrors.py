"""What tests of mirrors share: versions to carry, and an S3 server to carry them to."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec  # type: ignore[import-untyped]  # it carries no types
import pytest
from onnx import TensorProto, helper

from meshkit.store_write import new_run_id, write_version

MODEL = "classifier"
HERE = Path(__file__).parent


@contextmanager
def s3_bucket() -> Iterator[str]:
    """The address of a bucket on an S3 server, which the environment names meanwhile."""
    server = subprocess.Popen(
        [sys.executable, str(HERE / "s3_server.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout
    port = int(server.stdout.readline())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "tester")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        # Its clients are kept for as long as the process lives, and another server is elsewhere.
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir("models")
        yield "s3://models"
    server.communicate()


def add_version(home: Path, folder: Path, text: bytes = b"words") -> str:
    """Writes a small version into a store; returns its name."""
    node = helper.make_node("Identity", ["x"], ["y"])
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy"]
    graph = helper.make_graph([node], "same", sides[:1], sides[1:])
    files = {"model.fp32.onnx": folder / "model.onnx", "vocabulary.txt": folder / "vocabulary"}
    files["model.fp32.onnx"].write_bytes(helper.make_model(graph).SerializeToString())
    files["vocabulary.txt"].write_bytes(text)
    return write_version(home, MODEL, new_run_id(), files, {"labels": ["a", "b"]})
