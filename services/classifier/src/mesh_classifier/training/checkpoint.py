"""The state of a fine-tuning in one file, so that a killed one goes on where it was.

One safetensors file holds all of it, tensors and JSON: it is replaced in one step, so a kill leaves
the state before or the state after, and loading it runs nothing.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

# Where the JSON stands in the file's own metadata, which holds strings only.
_FIGURES = "figures"
_IDENTITY = "identity"


@dataclass(frozen=True, slots=True)
class State:
    """What a checkpoint holds."""

    tensors: Mapping[str, Tensor]
    figures: Mapping[str, Any]
    """JSON types."""


class Checkpoint:
    """A file that holds the last state of one training."""

    def __init__(self, path: Path, identity: str) -> None:
        """Describes the file, without touching it.

        Args:
            path: the file; its folder exists.
            identity: tells trainings apart. A state of another one is not gone on with.
        """
        self._path = path
        self._identity = identity

    def save(self, state: State) -> None:
        """Replaces the state, in one step.

        Raises:
            OSError: it can't be written; the state before stays.
        """
        metadata = {_IDENTITY: self._identity, _FIGURES: json.dumps(state.figures)}
        partial = self._path.with_suffix(".partial")
        save_file(dict(state.tensors), partial, metadata)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(self._path)

    def load(self) -> State | None:
        """The last state of this training; None where there is none that can be used."""
        try:
            with safe_open(self._path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get(_IDENTITY) != self._identity:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        except (FileNotFoundError, SafetensorError):
            return None
        return State(tensors, json.loads(metadata[_FIGURES]))

    def remove(self) -> None:
        """Deletes the file: the training is done."""
        self._path.unlink(missing_ok=True)
