"""The whole mesh: Redis, a trained classifier as it ships, the gateway."""

from contextlib import AbstractContextManager
from typing import Final

from gateway.scene import Scene, scene
from lab.processes import ROOT, python

STORE: Final = ROOT / ".mesh" / "models"


def whole(**settings: str) -> AbstractContextManager[Scene]:
    """Runs it inside.

    Args:
        settings: more of its environment.

    Raises:
        SystemExit: no version of the classifier is in production; the message has the remedy.
    """
    if not (STORE / "aliases" / "classifier" / "production").is_dir():
        raise SystemExit("there is no trained classifier; run `make up` once")
    service = (python("services/classifier"), "-m", "mesh_classifier")
    return scene(service=service, MESH_MODELS_PATH=str(STORE), **settings)
