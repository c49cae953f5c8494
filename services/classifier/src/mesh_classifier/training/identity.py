"""Tells whether two trainings are the same one: by the content of everything they depend on."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mesh_pipelines.provenance import environment
from meshkit import cpu

LIBRARIES: Final = ("torch", "transformers", "onnx", "onnxruntime", "tokenizers", "numpy")
"""Those that what a training makes depends on."""

Content = Mapping[str, npt.NDArray[Any]] | Sequence[Any] | Mapping[str, Any]


def identity_of(*contents: Content) -> str:
    """A hash of arrays and JSON values, and of the libraries and threads that compute with them.

    Sums of floats depend on the number of threads, so that half a training goes on only with as
    many as it began with.
    """
    digest = hashlib.sha256()
    for content in (*contents, {**environment(LIBRARIES), "threads": cpu.threads()}):
        if isinstance(content, Mapping):
            for name in sorted(content):
                _add(digest, name, content[name])
        else:
            _add(digest, "", content)
    return digest.hexdigest()


def _add(digest: "hashlib._Hash", name: str, value: Any) -> None:
    digest.update(f"{name}\0".encode())
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    else:
        digest.update(json.dumps(value, sort_keys=True).encode())
