"""From the parts of the default model to a version in the store."""

import platform
import subprocess
import tempfile
from collections.abc import Callable
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Final

from mesh_llm.training import sources, weights
from mesh_llm.training.sources import MODEL
from mesh_llm.training.weights import Dequantised
from meshkit import aliases
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


def promote_first(models: Path, version: str) -> bool:
    """Makes a version the production one if there is none yet; says whether it did."""
    if aliases.read(models, MODEL) is not None:
        return False
    try:
        aliases.write(models, MODEL, version, replaces=None, reason="the first version")
    except aliases.AliasMoved:
        return False  # another one was first
    return True


def _record(made: Dequantised) -> dict[str, Any]:
    libraries = {library: installed(library) for library in _LIBRARIES}
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
        "git_commit": _git_commit(),
        "settings": {"python": platform.python_version(), **libraries},
    }


def _git_commit() -> str:
    """The commit of the code, then `-dirty` where files differ; `unknown` outside a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    folder = Path(__file__).parent
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip()
