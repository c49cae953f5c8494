"""A local package index, and the real rated texts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from local_index import LocalIndex
from mesh_pipelines.fetch import fetch
from mesh_pipelines.rated_texts import RatedText, read_rated_texts
from mesh_pipelines.sources import load_sources

# How long an example takes says nothing: machines are busy.
settings.register_profile("mesh", deadline=None)
settings.load_profile("mesh")


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalIndex]:
    """A package index on this machine, which no proxy may stand before."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with LocalIndex() as served:
        yield served


@pytest.fixture(scope="session")
def rated_archive() -> Path:
    """The real archive of rated texts, from the user's cache or index."""
    return fetch(load_sources()["rated-texts"])["hutto_ICWSM_2014.tar.gz"]


@pytest.fixture(scope="session")
def rated_texts(rated_archive: Path) -> list[RatedText]:
    """Every real rated text."""
    return read_rated_texts(rated_archive)
