"""The routing file, and how a weight becomes a choice."""

from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_gateway.openai.catalog import Catalog
from mesh_gateway.openai.routing import Deployments, Facts, Router, _by_weight
from mesh_gateway.openai.routing_file import RoutingFile, load
from meshkit.client import Client
from meshkit.errors import StartError

DOCS = Path(__file__).parents[2] / "docs/openai.md"


def read(folder: Path, text: str) -> RoutingFile:
    path = folder / "routing.toml"
    path.write_text(text)
    return load(path)


def test_without_a_file_there_are_no_aliases() -> None:
    assert load(None) == RoutingFile()


def test_the_example_of_the_docs_is_one(tmp_path: Path) -> None:
    text = DOCS.read_text()
    example = text[text.index("```toml\n") + len("```toml\n") :].partition("```")[0]
    found = read(tmp_path, example)
    assert found.deployments
    kinds = [(bool(a.to), bool(a.split), bool(a.rules)) for a in found.models.values()]
    assert {(True, False, False), (False, True, False), (False, False, True)} <= set(kinds)
    assert found.embeddings


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models.a.to = ['b']", "models.a refers to 'b'"),
        ("models.a.to = ['x/b']", "models.a refers to 'x/b'"),
        ("models.a.to = []", "must have one of to, split and rules"),
        ("models.a = {to = ['llm/x'], split = {'llm/x' = 1}}", "must have one of"),
        ("models.a.split = {'llm/x' = 0}", "weights that are all 0"),
        ("models.a.split = {'llm/x' = -1}", "greater than or equal to 0"),
        ("models.a = {rules = [{to = 'llm/x', tools = true}]}", "must have otherwise"),
        ("models.a = {rules = [{to = 'llm/x'}], otherwise = 'llm/x'}", "has no condition"),
        ("models.a.to = ['a']", "models.a comes back to itself: a -> a"),
        ("models.a.to = ['b']\nmodels.b.to = ['c']\nmodels.c.to = ['a']", "comes back to itself"),
        ("deployments.llm.target = 'x:1'", "deployments.llm is the gateway's own"),
        ("deployments.'a/b'.target = 'x:1'", "has a slash in its name"),
        ("deployments.a = {}", "deployments.a.target: Field required"),
        ("modles.a.to = ['llm/x']", "modles: Extra inputs"),
        ("models = 3", "models"),
        ("this is no TOML", "can't be read"),
    ],
)
def test_a_file_that_makes_no_sense(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(StartError, match=r"routing\.toml") as error:
        read(tmp_path, text)
    assert words in str(error.value)


def test_a_file_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="can't be read"):
        load(tmp_path / "none.toml")


@given(st.dictionaries(st.text(min_size=1), st.floats(0, 1e9), min_size=1, max_size=5), st.text())
def test_a_choice_by_weight_is_one_that_has_some(weights: dict[str, float], key: str) -> None:
    if sum(weights.values()) > 0:
        chosen = _by_weight(weights, key)
        assert weights[chosen] > 0
        assert _by_weight(weights, key) == chosen


def test_choices_by_weight_are_in_proportion() -> None:
    weights = {"a": 9.0, "b": 1.0}
    chosen = [_by_weight(weights, f"key-{number}") for number in range(10_000)]
    # Six standard deviations of a binomial distribution are 180.
    assert 820 < chosen.count("b") < 1180


class _Named:
    def __init__(self, name: str) -> None:
        self.name = name


async def test_fallbacks_of_fallbacks_stand_in_their_order(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        """
        deployments.big.target = "127.0.0.1:1"
        models.a.to = ["b", "llm/x", "big/y"]
        models.b.to = ["big/y", "llm/z"]
        """,
    )
    clients = cast(Any, {name: _Named(name) for name in ("llm", "big")})
    deployments = Deployments(file, cast(dict[str, Client], clients))
    router = Router(deployments, Catalog(clients, cast(Client, _Named("embedder"))))
    found = await router.candidates("a", Facts("key", False, lambda: 0))
    assert [(each.client.name, each.model) for each in found] == [
        ("big", "y"),
        ("llm", "z"),
        ("llm", "x"),
    ]
