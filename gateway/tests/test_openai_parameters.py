"""The tables of parameters in docs/openai.md, against the code."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from mesh_gateway.openai import parameters, requests
from mesh_gateway.openai.parameters import Parameter, Treatment, table

DOCS = (Path(__file__).parents[2] / "docs/openai.md").read_text()
ROUTES = pytest.mark.parametrize(
    ("request_type", "listed"),
    [
        (requests.ChatCompletionRequest, parameters.CHAT),
        (requests.CompletionRequest, parameters.COMPLETIONS),
        (requests.EmbeddingRequest, parameters.EMBEDDINGS),
    ],
    ids=["chat", "completions", "embeddings"],
)


@ROUTES
def test_every_parameter_has_a_row(
    request_type: type[msgspec.Struct], listed: Sequence[Parameter]
) -> None:
    fields = [each.name for each in msgspec.structs.fields(request_type)]
    assert sorted(fields) == sorted(each.name for each in listed)
    assert table(listed) in DOCS


@ROUTES
def test_what_is_ignored_or_refused_is_not_looked_at(
    request_type: type[msgspec.Struct], listed: Sequence[Parameter]
) -> None:
    types = {each.name: each.type for each in msgspec.structs.fields(request_type)}
    for each in listed:
        raw = types[each.name] == requests.Ignored
        assert raw == (each.treatment is not Treatment.TAKEN), each.name
