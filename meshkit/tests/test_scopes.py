"""Who may do what."""

import pytest

from meshkit import scopes
from meshkit.errors import InvalidArgument
from meshkit.scopes import PREDICT, READ


@pytest.mark.parametrize(
    ("granted", "verb", "allowed"),
    [
        ({"classifier"}, PREDICT, True),
        ({"classifier"}, READ, True),
        ({"classifier:predict"}, PREDICT, True),
        ({"classifier:predict"}, READ, False),
        ({"classifier:read"}, PREDICT, False),
        ({"llm", "llm:predict"}, PREDICT, False),
        (set(), READ, False),
    ],
)
def test_a_service_stands_for_all_its_verbs(granted: set[str], verb: str, allowed: bool) -> None:
    assert scopes.allows(granted, "classifier", verb) is allowed


@pytest.mark.parametrize(
    ("method", "verb"),
    [
        ("Classify", PREDICT),
        ("GetModel", READ),
        ("ListModels", READ),
        ("Getaway", PREDICT),
        ("ModelInfer", PREDICT),
        ("ModelMetadata", READ),
    ],
)
def test_a_method_that_only_asks_is_a_reading_one(method: str, verb: str) -> None:
    assert scopes.verb_of(method) == verb


def test_scopes_that_do_not_exist_are_refused() -> None:
    assert scopes.check(["classifier", "classifier"]) == {"classifier"}
    with pytest.raises(InvalidArgument, match="holds clasifier; choose from classifier, "):
        scopes.check(["classifier", "clasifier"])
    with pytest.raises(InvalidArgument, match="is empty; choose from"):
        scopes.check([])
