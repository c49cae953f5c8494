"""An upstream, and the service before it."""

from collections.abc import AsyncIterator

import hypothesis
import pytest

import upstream as standing_in
from serving import Serving, serve
from upstream import Upstream

# How long an example takes says nothing: machines are busy.
hypothesis.settings.register_profile("mesh", deadline=None)
hypothesis.settings.load_profile("mesh")


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with standing_in.serving() as serving:
        yield serving


@pytest.fixture
async def service(upstream: Upstream) -> AsyncIterator[Serving]:
    """The service with room for 8 choices."""
    async with serve(upstream.url, max_running=4, queue_capacity=4) as serving:
        yield serving
