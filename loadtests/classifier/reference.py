"""The classifier's graph and tokenizer in process, as little around them as can be.

    python reference.py VERSION FORM LAYOUT SECONDS

LAYOUT is sessions x threads x texts a run, such as 1x2x16. Prints texts per second, and us of CPU
for each.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from sample import TEXT
from tokenizers import Tokenizer

from meshkit.onnx import session_options

LABELS: Final = ("negative", "neutral", "positive")
_LONGEST: Final = 256


class Reference:
    """Classifies texts.

    Args:
        version: the folder of a version in the model store.
        form: `fp32` or `int8`.
        threads: of one run.
    """

    def __init__(self, version: Path, form: str, threads: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(version / "tokenizer.json"))
        self._tokenizer.enable_truncation(_LONGEST)
        self._tokenizer.enable_padding()
        graph = version / f"model.{form}.onnx"
        self._session = onnxruntime.InferenceSession(graph, session_options(threads))

    def classify(self, texts: list[str]) -> list[dict[str, Any]]:
        """What each text is."""
        rows = self._tokenizer.encode_batch(texts)
        logits, valences = self._session.run(
            ["logits", "valence"],
            {
                "input_ids": np.array([row.ids for row in rows], np.int64),
                "attention_mask": np.array([row.attention_mask for row in rows], np.int64),
            },
        )
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return [
            {
                "label": LABELS[int(row.argmax())],
                "probabilities": dict(zip(LABELS, row.tolist(), strict=True)),
                "valence": float(valence),
            }
            for row, valence in zip(shares, valences, strict=True)
        ]


def measure(version: Path, form: str, layout: str, seconds: float) -> tuple[float, float]:
    """Texts per second of a layout, and us of CPU for each."""
    sessions, threads, texts = map(int, layout.split("x"))
    models = [Reference(version, form, threads) for _ in range(sessions)]
    lot = [TEXT] * texts
    for model in models:
        for _ in range(3):
            model.classify(lot)

    def work(model: Reference) -> int:
        count = 0
        while time.perf_counter() < until_s:
            model.classify(lot)
            count += texts
        return count

    cpu_s = time.process_time()
    until_s = (began_s := time.perf_counter()) + seconds
    with ThreadPoolExecutor(sessions) as pool:
        done = sum(pool.map(work, models))
    cpu_us = (time.process_time() - cpu_s) / done * 1e6
    return done / (time.perf_counter() - began_s), cpu_us


if __name__ == "__main__":
    _, folder, chosen_form, chosen_layout, chosen_seconds = sys.argv
    found = measure(Path(folder), chosen_form, chosen_layout, float(chosen_seconds))
    sys.stdout.write("{:.1f} {:.0f}\n".format(*found))
