"""Every case can be answered, by one of the tools that it offers."""

import json
from itertools import product

import jsonschema
import pytest

from mesh_llm import bounds
from mesh_llm.training.evaluation.cases import SchemaCase, ToolCase, schema_cases, tool_cases
from mesh_llm.training.evaluation.judge import Call, is_right

CALLS = tool_cases()
FORMS = schema_cases()


def test_there_are_a_hundred_different_calls() -> None:
    assert len(CALLS) == len({case.question for case in CALLS}) == 100
    assert {case.tool for case in CALLS} == {tool.name for case in CALLS for tool in case.offered}
    places = [[tool.name for tool in case.offered].index(case.tool) for case in CALLS]
    assert all(places.count(place) > 25 for place in range(3)), "the first is not always right"


@pytest.mark.parametrize("case", CALLS, ids=lambda case: case.question)
def test_what_is_right_fits_the_tool_that_is_right(case: ToolCase) -> None:
    assert len({tool.name for tool in case.offered}) == 3
    (tool,) = (tool for tool in case.offered if tool.name == case.tool)
    for values in product(*case.arguments.values()):
        arguments = dict(zip(case.arguments, values, strict=True))
        jsonschema.validate(arguments, tool.parameters)
        assert is_right(Call(tool.name, arguments), case)


def test_texts_are_of_eight_schemas() -> None:
    assert len(FORMS) == len({case.text for case in FORMS}) == 40
    assert len({str(case.schema) for case in FORMS}) == 8


@pytest.mark.parametrize("case", FORMS[:8], ids=lambda case: case.text)
def test_a_schema_is_one_that_the_service_takes(case: SchemaCase) -> None:
    jsonschema.Draft202012Validator.check_schema(case.schema)
    bounds.check_schema(json.dumps(case.schema))
