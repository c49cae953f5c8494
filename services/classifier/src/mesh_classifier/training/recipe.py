"""What a recipe is: a way to train the network. All recipes end in the same graph."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mesh_pipelines.splits import Part
from tokenizers import Tokenizer

from mesh_classifier.training.data import Examples
from mesh_classifier.training.network import Heads, PooledEncoder


@dataclass(frozen=True, slots=True)
class Task:
    """What a recipe works with."""

    examples: Mapping[Part, Examples]
    """The test part is there for measuring only: no recipe looks at it."""
    encoder: PooledEncoder
    tokenizer: Tokenizer
    seed: int
    workspace: Path
    """A folder of its own, gone after the training."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network."""

    encoder: PooledEncoder
    encoder_graph: Path
    """The encoder, exported."""
    heads: Heads
    settings: Mapping[str, float]
    """What the recipe chose, for the record of the version."""


Recipe = Callable[[Task], Trained]
