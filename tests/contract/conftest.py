"""One mesh for every contract test, with the classifier that the classifier's own tests use."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contract.mesh import ROOT, Mesh

_PLACES = (ROOT / ".mesh" / "models", ROOT / "services/classifier/.pytest_cache/d/models")


@pytest.fixture(scope="session")
def models() -> Path:
    """The home of a store with a classifier in production: MESH_MODELS_PATH's, or what is here."""
    if named := os.environ.get("MESH_MODELS_PATH"):
        return Path(named)
    for home in _PLACES:
        if (home / "aliases" / "classifier" / "production").is_dir():
            return home
    pytest.fail("there is no trained classifier: run `make up`, or the classifier's own tests")


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Mesh]:
    """A mesh that nobody else uses."""
    with Mesh(tmp_path_factory.mktemp("mesh"), models) as started:
        yield started


@pytest.fixture(scope="session")
def document(mesh: Mesh) -> dict[str, Any]:
    """The OpenAPI document that the gateway serves."""
    found: dict[str, Any] = mesh.ask("GET", "/openapi.json").json
    return found
