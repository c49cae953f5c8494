"""What the reference implementation gives for the tests' own texts, as it was recorded.

The reference needs torch and transformers, which serving does not have. In the environment of the
training the records are compared with it, and written by `python tests/training/record.py`.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from meshkit.onnx import FloatArray

FILE = Path(__file__).with_name("recorded.json")


def read() -> Mapping[str, FloatArray]:
    """The vectors by their texts."""
    records = json.loads(FILE.read_text(encoding="utf-8"))
    return {
        text: np.frombuffer(base64.b64decode(vector), "<f4") for text, vector in records.items()
    }


def write(texts: Sequence[str], vectors: FloatArray) -> None:
    """Writes the vectors of texts, in their order."""
    records = {
        text: base64.b64encode(vector.astype("<f4").tobytes()).decode()
        for text, vector in zip(texts, vectors, strict=True)
    }
    FILE.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
