"""From data to a version in the store: what every recipe has before and after it."""

import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch

from mesh_classifier.calibration import LABELS
from mesh_classifier.training import full, label_errors, quick, sources
from mesh_classifier.training.data import Examples, load_examples
from mesh_classifier.training.embeddings import embed
from mesh_classifier.training.export import SIGNATURE, attach_heads
from mesh_classifier.training.identity import LIBRARIES
from mesh_classifier.training.label_errors import Suspects
from mesh_classifier.training.measure import Measured, measure
from mesh_classifier.training.quantise import quantise
from mesh_classifier.training.recipe import Recipe, Task, Trained
from mesh_classifier.training.report import figures
from mesh_classifier.training.report.build import Subject, build
from mesh_classifier.training.variants import CLEANED, restrict
from mesh_pipelines.cache import exclusive
from mesh_pipelines.provenance import environment, git_commit
from mesh_pipelines.splits import Part
from mesh_pipelines.text_encoder import CONFIG, MAX_LENGTH, PAD_ID, TOKENIZER, WEIGHTS
from mesh_pipelines.training.sentence_encoder import load_encoder
from meshkit.onnx import FloatArray, TextTokenizer
from meshkit.store_write import new_run_id, write_version

MODEL: Final = "classifier"
RECIPES: Final[Mapping[str, Recipe]] = {
    "full": Recipe(full.train, reports=True),
    "quick": Recipe(quick.train, reports=False),
}


@dataclass(frozen=True, slots=True)
class Request:
    """What to train and where to put it."""

    recipe: str
    """One of RECIPES."""
    data: str
    """One of `variants.DATA`."""
    files: Mapping[str, Path]
    """The files of the sources."""
    models: Path
    """The store's home folder."""
    kept: Path
    """A folder for what the next training can use, if this one is killed or is like it."""
    seed: int


@dataclass(frozen=True, slots=True)
class _Doubts:
    """Which training texts have doubtful labels, and what says so."""

    examples: Mapping[Part, Examples]
    embeddings: Mapping[Part, FloatArray]
    suspects: Suspects

    def without_suspects(self, task: Task) -> Task:
        """The same task without the doubtful training texts."""
        kept = self.examples[Part.TRAIN].where(self.suspects.kept())
        return replace(task, examples={**task.examples, Part.TRAIN: kept})


def run(request: Request, say: Callable[[str], None]) -> str:
    """Trains, measures and saves one version, and returns its name.

    Args:
        request: what to train.
        say: told in one line what comes next.

    Raises:
        PipelineError: the data is not as expected, or another training is running.
        OSError: something can't be written.
    """
    recipe = RECIPES[request.recipe]
    doubting = recipe.reports or request.data == CLEANED
    folder = request.kept / request.recipe
    with (
        exclusive(folder, "a training of the classifier") if doubting else nullcontext(),
        tempfile.TemporaryDirectory(prefix="mesh-training-") as workspace,
    ):
        task = _prepare(request, Path(workspace), say)
        doubts = _doubt(task, folder) if doubting else None
        if doubts and request.data == CLEANED:
            task = doubts.without_suspects(task)
        version = _make(request, task, recipe, doubts)
        task.checkpoint.unlink(missing_ok=True)
        return version


def _prepare(request: Request, workspace: Path, say: Callable[[str], None]) -> Task:
    torch.manual_seed(request.seed)
    torch.use_deterministic_algorithms(True)
    files = request.files
    examples = restrict(load_examples(files[sources.RATED_TEXTS], request.seed), request.data)
    say("texts: " + ", ".join(f"{len(part)} for {name}" for name, part in examples.items()))
    return Task(
        examples=examples,
        encoder=load_encoder(files[CONFIG], files[WEIGHTS]),
        tokenizer=TextTokenizer(files[TOKENIZER], MAX_LENGTH),
        seed=request.seed,
        workspace=workspace,
        checkpoint=request.kept / request.recipe / f"{request.data}.safetensors",
        say=say,
    )


def _doubt(task: Task, folder: Path) -> _Doubts:
    """Looks for doubtful labels, on the embeddings of every text."""
    task.say("looking for label errors")
    texts = [text for part in Part for text in task.examples[part].texts]
    embeddings = embed(task.encoder, task.tokenizer, texts, folder, "encode all texts")
    ends = np.cumsum([len(task.examples[part]) for part in Part])[:-1]
    by_part = dict(zip(Part, np.split(embeddings, ends), strict=True))
    suspects = label_errors.find(task.examples, by_part, task.seed)
    task.say(f"{len(suspects.places)} of {len(suspects.shares)} training labels are doubtful")
    return _Doubts(task.examples, by_part, suspects)


def _make(request: Request, task: Task, recipe: Recipe, doubts: _Doubts | None) -> str:
    """Trains, measures, and saves what was made; the name of the version."""
    trained = recipe.train(task)
    graphs = _write_graphs(trained, task.workspace)
    task.say("measuring what the exported graphs answer")
    measured = measure(trained, graphs, task.tokenizer, task.examples)
    files = {
        **{graph.name: graph for graph in graphs.values()},
        "tokenizer.json": request.files[TOKENIZER],
        "config.json": _write_config(task.workspace),
    }
    if recipe.reports and doubts:
        task.say("measuring for the report")
        files |= _report(request, task, trained, graphs, measured, doubts)
    record = {
        "labels": list(LABELS),
        "signature": SIGNATURE,
        **measured.record(),
        **_provenance(request, trained),
    }
    task.say(f"saving it in {request.models}")
    labels = {"recipe": request.recipe, "data": request.data}
    return write_version(request.models, MODEL, new_run_id(), files, record, labels)


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


def _report(
    request: Request,
    task: Task,
    trained: Trained,
    graphs: Mapping[str, Path],
    measured: Measured,
    doubts: _Doubts,
) -> dict[str, Path]:
    """Writes the report and the list of doubtful labels; their paths by name."""
    subject = Subject(
        data=request.data,
        examples=task.examples,
        doubted=doubts.examples,
        suspects=doubts.suspects,
        embeddings=doubts.embeddings,
        measured=measured,
        graphs=graphs,
        tokenizer=task.tokenizer,
        epochs=trained.epochs,
        seed=request.seed,
    )
    paths = {name: task.workspace / name for name in (figures.FILE, label_errors.FILE)}
    figures.write(build(subject), paths[figures.FILE])
    listed = doubts.suspects.listed(doubts.examples[Part.TRAIN])
    content = msgspec.json.format(msgspec.json.encode(listed), indent=1)
    paths[label_errors.FILE].write_bytes(content + b"\n")
    return paths


def _provenance(request: Request, trained: Trained) -> dict[str, Any]:
    choices = {"recipe": request.recipe, "data": request.data, "seed": request.seed}
    return {
        "sources": sources.describe(),
        "git_commit": git_commit(Path(__file__)),
        "settings": {**choices, **trained.settings, **environment(LIBRARIES)},
    }
