"""The mirror that the cluster's classifiers fetch their model from."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from real_mesh import ROOT

_MODEL: Final = "classifier"
_CLI: Final = ROOT / "cli" / ".venv" / "bin" / "python"
_GARBAGE: Final = b"no graph"


class Models:
    """A mirror, pushed to with the command that production uses.

    Args:
        store: the home of a model store with a classifier in production.
        folder: an empty folder, which every user may read.
    """

    def __init__(self, store: Path, folder: Path) -> None:
        self.mirror = folder / "mirror"
        self._store = folder / "store"
        shutil.copytree(store, self._store)
        moves = sorted((self._store / "aliases" / _MODEL / "production").glob("*.json"))
        self.production = str(json.loads(moves[-1].read_text())["version"])
        """The version that the classifiers are to serve."""
        self._push(_MODEL)

    def push(self, model: str) -> None:
        """Brings what is in production of another model of the store to the mirror."""
        self._push(model)

    def garbage(self) -> str:
        """Puts a version into the mirror whose files are whole and whose graphs are none.

        Returns:
            Its name.
        """
        versions = self._store / "models" / _MODEL
        name = "20000101-000000-bad000"
        shutil.copytree(versions / self.production, versions / name)
        record = (versions / name / "model.yaml").read_text().replace(self.production, name)
        for graph in (versions / name).glob("*.onnx"):
            record = record.replace(_sha256(graph.read_bytes()), _sha256(_GARBAGE))
            graph.write_bytes(_GARBAGE)
        (versions / name / "model.yaml").write_text(record)
        self._push(f"{_MODEL}:{name}")
        return name

    def _push(self, what: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
        places = {"MESH_MODELS_PATH": str(self._store), "MESH_MODELS_URL": str(self.mirror)}
        command = [str(_CLI), "-m", "mesh_cli", "models", "push", what]
        subprocess.run(command, env=kept | places, check=True, stdin=subprocess.DEVNULL)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
