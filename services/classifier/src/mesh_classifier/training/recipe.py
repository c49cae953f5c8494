"""What a recipe is: a way to train the network. All recipes end in the same graph."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mesh_classifier.training.data import Examples
from mesh_classifier.training.network import Heads
from mesh_classifier.training.report.figures import Epoch
from mesh_pipelines.splits import Part
from mesh_pipelines.training.sentence_encoder import PooledEncoder
from meshkit.onnx import TextTokenizer


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the network answers to some texts."""

    logits: npt.NDArray[np.float32]
    """Shape [n, labels]."""
    valences: npt.NDArray[np.float32]
    """Shape [n]."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a recipe works with."""

    examples: Mapping[Part, Examples]
    """The test part is there for measuring only: no recipe looks at it."""
    encoder: PooledEncoder
    tokenizer: TextTokenizer
    seed: int
    workspace: Path
    """A folder of its own, gone after the training."""
    checkpoint: Path
    """A file that outlives a training that is killed, and goes when its version is saved."""
    say: Callable[[str], None]
    """Told in one line what comes next."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network."""

    encoder: PooledEncoder
    encoder_graph: Path
    """The encoder, exported."""
    heads: Heads
    validation: Outputs
    """What the network answers to the validation part, in its order."""
    settings: Mapping[str, Any]
    """What the recipe chose, for the record of the version."""
    epochs: Sequence[Epoch] = ()
    """How the losses fell, where the recipe has epochs."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to train."""

    train: Callable[[Task], Trained]
    reports: bool
    """Whether its versions carry a report, which takes minutes."""
