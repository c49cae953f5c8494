"""From data to a version in the store: what every recipe has before and after it."""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from mesh_classifier.calibration import LABELS
from mesh_classifier.training import quick, sources
from mesh_classifier.training.data import load_examples
from mesh_classifier.training.encoding import MAX_LENGTH, PAD_ID
from mesh_classifier.training.export import SIGNATURE, attach_heads
from mesh_classifier.training.measure import measure
from mesh_classifier.training.network import load_encoder
from mesh_classifier.training.provenance import environment, git_commit
from mesh_classifier.training.quantise import quantise
from mesh_classifier.training.recipe import Recipe, Task, Trained
from meshkit import aliases
from meshkit.onnx import TextTokenizer
from meshkit.store_write import new_run_id, write_version

MODEL: Final = "classifier"
RECIPES: Final[Mapping[str, Recipe]] = {"quick": quick.train}


@dataclass(frozen=True, slots=True)
class Request:
    """What to train and where to put it."""

    recipe: str
    """One of RECIPES."""
    files: Mapping[str, Path]
    """The files of the sources."""
    models: Path
    """The store's home folder."""
    seed: int


def run(request: Request, say: Callable[[str], None]) -> str:
    """Trains, measures and saves one version, and returns its name.

    Args:
        request: what to train.
        say: told in one line what comes next.

    Raises:
        PipelineError: the data is not as expected.
        OSError: something can't be written.
    """
    with tempfile.TemporaryDirectory(prefix="mesh-training-") as workspace:
        task = _prepare(request, Path(workspace), say)
        trained = RECIPES[request.recipe](task)
        graphs = _write_graphs(trained, task.workspace)
        say("measuring what the exported graphs answer")
        record = {
            "labels": list(LABELS),
            "signature": SIGNATURE,
            **measure(trained, graphs, task.tokenizer, task.examples),
            **_provenance(request, trained),
        }
        files = {
            **{graph.name: graph for graph in graphs.values()},
            "tokenizer.json": request.files[sources.TOKENIZER],
            "config.json": _write_config(task.workspace),
        }
        say(f"saving it in {request.models}")
        labels = {"recipe": request.recipe}
        return write_version(request.models, MODEL, new_run_id(), files, record, labels)


def promote_first(models: Path, version: str) -> bool:
    """Makes a version the production one if there is none yet; says whether it did."""
    if aliases.read(models, MODEL) is not None:
        return False
    try:
        aliases.write(models, MODEL, version, replaces=None, reason="the first version")
    except aliases.AliasMoved:
        return False  # another training was first
    return True


def _prepare(request: Request, workspace: Path, say: Callable[[str], None]) -> Task:
    torch.manual_seed(request.seed)
    torch.use_deterministic_algorithms(True)
    files = request.files
    examples = load_examples(files[sources.RATED_TEXTS], request.seed)
    say("texts: " + ", ".join(f"{len(part)} for {name}" for name, part in examples.items()))
    return Task(
        examples=examples,
        encoder=load_encoder(files[sources.ENCODER_CONFIG], files[sources.ENCODER_WEIGHTS]),
        tokenizer=TextTokenizer(files[sources.TOKENIZER], MAX_LENGTH),
        seed=request.seed,
        workspace=workspace,
        say=say,
    )


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


def _provenance(request: Request, trained: Trained) -> dict[str, Any]:
    choices = {"recipe": request.recipe, "seed": request.seed, **trained.settings}
    return {
        "sources": sources.describe(),
        "git_commit": git_commit(),
        "settings": {**choices, **environment()},
    }
