"""One mesh for every contract test."""

from collections.abc import Iterator
from typing import Any

import pytest
from real_mesh import Mesh, trained_models


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh that nobody else uses."""
    with Mesh(tmp_path_factory.mktemp("mesh"), trained_models(), gateways=2) as started:
        yield started


@pytest.fixture(scope="session")
def document(mesh: Mesh) -> dict[str, Any]:
    """The OpenAPI document that the gateway serves."""
    found: dict[str, Any] = mesh.ask("GET", "/openapi.json").json
    return found
