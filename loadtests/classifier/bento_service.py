"""The classifier's graph behind BentoML with adaptive batching, to be compared with.

    VERSION=.mesh/models/... FORM=int8 bentoml serve bento_service:Classifier

It does with a text what the classifier does: tokenize, run, scale, choose.
"""

import os
from pathlib import Path
from typing import Any

import bentoml

from reference import Reference

THREADS = int(os.environ["THREADS"])


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Classifier:
    """Classifies texts."""

    def __init__(self) -> None:
        self._model = Reference(Path(os.environ["VERSION"]), os.environ["FORM"], THREADS)

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=1000)
    def classify(self, texts: list[str]) -> list[dict[str, Any]]:
        """What each text is."""
        return self._model.classify(texts)
