"""What the tests of the chart share."""

import pytest

from cases import CASES, rendered
from rendering import Object


@pytest.fixture(scope="session", params=list(CASES))
def case(request: pytest.FixtureRequest) -> list[Object]:
    """The objects of the chart with values that a user would have; each test is run with all."""
    return rendered(request.param)


@pytest.fixture(scope="session")
def defaults() -> list[Object]:
    """The objects of the chart as it comes."""
    return rendered("defaults")
