"""The tables of parameters in docs/openai.md, against the code."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from mesh_gateway.openai import parameters, requests
from mesh_gateway.openai.parameters import Parameter, Treatment, table
from mesh_gateway.openai.responses_api.requests import ResponseRequest

DOCS = (Path(__file__).parents[2] / "docs/openai.md").read_text()
ROUTES = pytest.mark.parametrize(
    ("request_type", "listed"),
    [
        (requests.ChatCompletionRequest, parameters.CHAT),
        (ResponseRequest, parameters.RESPONSES),
        (requests.CompletionRequest, parameters.COMPLETIONS),
        (requests.EmbeddingRequest, parameters.EMBEDDINGS),
    ],
    ids=["chat", "responses", "completions", "embeddings"],
)


@ROUTES
def test_every_parameter_has_a_row(
    request_type: type[msgspec.Struct], listed: Sequence[Parameter]
) -> None:
    fields = [each.name for each in msgspec.structs.fields(request_type)]
    assert sorted(fields) == sorted(each.name for each in listed)
    assert table(listed) in DOCS


@ROUTES
def test_the_document_says_which_values_pass(
    request_type: type[msgspec.Struct], listed: Sequence[Parameter]
) -> None:
    _, schemas = msgspec.json.schema_components([request_type])
    properties = schemas[request_type.__name__]["properties"]
    for each in listed:
        match each.treatment:
            case Treatment.TAKEN:
                assert properties[each.name].keys() & {"type", "anyOf"}, each.name
            case Treatment.IGNORED:
                assert properties[each.name] == {}, each.name
            case Treatment.REFUSED:
                assert properties[each.name] == {"enum": [None, *each.passes]}, each.name
