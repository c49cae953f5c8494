"""From the parts of the default model to a version in the store."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from mesh_llm.training import sources, weights
from mesh_llm.training.sources import MODEL
from mesh_llm.training.weights import Dequantised
from mesh_pipelines.provenance import environment, git_commit
from meshkit.store_write import new_run_id, write_version

_LIBRARIES: Final = ("torch", "transformers", "gguf", "safetensors")


def build(parts: list[Path], models: Path, say: Callable[[str], None]) -> str:
    """Makes one version out of the parts and returns its name.

    Args:
        parts: in their order.
        models: the store's home folder.
        say: told in one line what comes next.

    Raises:
        PipelineError: the parts are not those of the model.
        OSError: something can't be written.
    """
    with tempfile.TemporaryDirectory(prefix="mesh-llm-") as workspace:
        gguf = Path(workspace) / "model.gguf"
        say("joining the parts")
        sources.join(parts, gguf)
        say("writing the weights as bfloat16")
        folder = Path(workspace) / "model"
        made = weights.dequantise(gguf, folder)
        say(f"saving it in {models}")
        labels = {"base": sources.NAME, "precision": "bfloat16"}
        return write_version(models, MODEL, new_run_id(), made.files, _record(made), labels)


def _record(made: Dequantised) -> dict[str, Any]:
    return {
        "base": sources.NAME,
        "licence": sources.LICENCE,
        "precision": "bfloat16",
        "quantised_before": "Q4_K_M",
        "parameters": made.parameters,
        "context_tokens": made.context_tokens,
        "tool_format": "hermes",
        "sources": sources.describe(),
        "source_sha256": sources.SHA256,
        "git_commit": git_commit(Path(__file__)),
        "settings": environment(_LIBRARIES),
    }
