"""One mesh for every test of this judge, with a model that was trained."""

from collections.abc import Iterator

import pytest
from real_mesh import Mesh, trained_models


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh that nobody else uses."""
    with Mesh(tmp_path_factory.mktemp("mesh"), trained_models()) as started:
        yield started
