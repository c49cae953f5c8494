"""From data to a version in the store: what every recipe has before and after it."""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from mesh_classifier.calibration import LABELS
from mesh_classifier.training import quick
from mesh_classifier.training.data import load_examples
from mesh_classifier.training.encoding import MAX_LENGTH, PAD_ID
from mesh_classifier.training.export import SIGNATURE, attach_heads
from mesh_classifier.training.measure import measure
from mesh_classifier.training.network import load_encoder
from mesh_classifier.training.provenance import describe_sources, environment, git_commit
from mesh_classifier.training.quantise import quantise
from mesh_classifier.training.recipe import Recipe, Task, Trained
from mesh_pipelines.fetch import fetch
from mesh_pipelines.sources import load_sources
from meshkit import aliases
from meshkit.onnx import TextTokenizer
from meshkit.store_write import new_run_id, write_version

MODEL = "classifier"
RECIPES: Mapping[str, Recipe] = {"quick": quick.train}


@dataclass(frozen=True, slots=True)
class Request:
    """What to train and where to put it."""

    recipe: str
    """One of RECIPES."""
    models: Path
    """The store's home folder."""
    seed: int


def run(request: Request, say: Callable[[str], None]) -> str:
    """Trains, measures and saves one version, and returns its name.

    Args:
        request: what to train.
        say: told in one line what was reached.

    Raises:
        PipelineError: the data can't be had.
        OSError: something can't be written.
    """
    torch.manual_seed(request.seed)
    torch.use_deterministic_algorithms(True)
    manifest = load_sources()
    sources = [manifest["rated-texts"], manifest["text-encoder"]]
    paths = {name: path for source in sources for name, path in fetch(source).items()}
    examples = load_examples(paths["hutto_ICWSM_2014.tar.gz"], request.seed)
    say("texts: " + ", ".join(f"{len(part)} {name}" for name, part in examples.items()))
    tokenizer = TextTokenizer(paths["tokenizer.json"], MAX_LENGTH)
    encoder = load_encoder(paths["config.json"], paths["model.safetensors"])
    request.models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".training-", dir=request.models) as folder:
        workspace = Path(folder)
        trained = RECIPES[request.recipe](
            Task(examples, encoder, tokenizer, request.seed, workspace)
        )
        graphs = _write_graphs(trained, workspace)
        record = {
            "labels": list(LABELS),
            "signature": SIGNATURE,
            **measure(trained, graphs, tokenizer, examples),
            "sources": describe_sources(sources),
            "git_commit": git_commit(),
            "settings": {
                "recipe": request.recipe,
                "seed": request.seed,
                **trained.settings,
                **environment(),
            },
        }
        files = {
            **{graph.name: graph for graph in graphs.values()},
            "tokenizer.json": paths["tokenizer.json"],
            "config.json": _write_config(workspace),
        }
        return write_version(
            request.models, MODEL, new_run_id(), files, record, labels={"recipe": request.recipe}
        )


def promote_first(models: Path, version: str) -> bool:
    """Makes a version the production one if there is none yet; says whether it did."""
    if aliases.read(models, MODEL) is not None:
        return False
    try:
        aliases.write(models, MODEL, version, replaces=None, reason="the first version")
    except aliases.AliasMoved:
        return False  # another training was first
    return True


def _write_graphs(trained: Trained, workspace: Path) -> dict[str, Path]:
    graphs = {precision: workspace / f"model.{precision}.onnx" for precision in ("fp32", "int8")}
    attach_heads(trained.encoder_graph, trained.heads, graphs["fp32"])
    quantise(graphs["fp32"], graphs["int8"])
    return graphs


def _write_config(workspace: Path) -> Path:
    """Writes what a server needs, beside the tokenizer, to make inputs from texts."""
    path = workspace / "config.json"
    config = {"max_length": MAX_LENGTH, "pad_id": PAD_ID, "labels": list(LABELS)}
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return path
