"""What is too large to be compiled is refused before that."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_llm import bounds
from mesh_llm.bounds import Unfit, check_grammar, check_regex, check_schema, pattern_states

MANY: dict[str, dict[str, str]] = {f"p{number}": {} for number in range(300)}
DEEP = '{"properties": {"a": ' * 20 + "{}" + "}}" * 20


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("{", "is no JSON"),
        ("", "is no JSON"),
        ("[]", "that is an object"),
        ("NaN", "NaN is no JSON"),
        ('{"enum": ["\\uD800"]}', "half a character"),
        ('{"type": "objekt"}', "is no JSON Schema, at type"),
        ('{"properties": {"a": {"minLength": -1}}}', "at properties/a/minLength"),
        (DEEP, "over 32 levels"),
        ("[" * 100_000, "bytes and may have"),
        ("[" * 60_000, "over 32 levels"),
        (json.dumps({"enum": list(range(5000))}), "over 4096 values"),
        ('{"items": {"items": {}, "minItems": 200}, "minItems": 200}', "repeats something 40000"),
        ('{"maxLength": 100000}', "repeats something 100000"),
        ('{"pattern": "(a{1000}){1000}"}', "states with its repetitions"),
        ('{"items": {"pattern": "a{999}"}, "minItems": 99}', "repeats something"),
        ('{"pattern": "("}', "is no JSON Schema, at pattern"),
        (json.dumps({"properties": MANY}), "90000 pairs of optional"),
        ('{"$ref": "https://example.com/schema.json"}', "put that into"),
    ],
)
def test_a_schema_that_can_not_be_served_is_refused_with_the_remedy(schema: str, said: str) -> None:
    with pytest.raises(Unfit, match=said):
        check_schema(schema)


@pytest.mark.parametrize(
    "schema",
    [
        "{}",
        json.dumps({"properties": {"a": {}, "b": {}}, "required": ["a"]}),
        json.dumps({"properties": MANY, "required": list(MANY)}),
        '{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}',
        json.dumps({"enum": [f"value {number}" for number in range(4000)]}),
        '{"type": "array", "items": {"type": "integer"}, "minItems": 5, "maxItems": 100}',
        '{"$defs": {"n": {"properties": {"next": {"$ref": "#/$defs/n"}}}}, "$ref": "#/$defs/n"}',
        '{"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"}',
    ],
)
def test_usual_schemas_are_taken(schema: str) -> None:
    assert check_schema(schema) == json.loads(schema)


@pytest.mark.parametrize(
    ("pattern", "states"),
    [
        ("", 0),
        ("abc", 3),
        ("a{3}", 3),
        ("a{2,5}", 5),
        ("a{2,}", 2),
        ("(ab){3}", 9),
        ("((a{3}){3}){3}", 39),
        (r"\d{4}-\d\d", 7),
        ("[^]a-z]{2}x", 3),
        (r"[\]]{4}", 4),
        ("a{0}", 1),
    ],
)
def test_states_are_counted_with_repetitions_written_out(pattern: str, states: int) -> None:
    assert pattern_states(pattern) == states


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("", "is empty"),
        ("(", "is no regular expression"),
        ("a" * 5000, "bytes and may have"),
        ("(a{1000}){1000}", "lower the repetitions"),
        ("((((a{40}){40}){40}){40}){40}", "lower the repetitions"),
        ("a{1,99999999999}", "is no regular expression|lower the repetitions"),
    ],
)
def test_an_expression_that_explodes_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(Unfit, match=said):
        check_regex(pattern)


@pytest.mark.parametrize(
    ("grammar", "said"),
    [
        (" ", "is empty"),
        ("a" * 20_000, "bytes and may have"),
        ('root ::= ("a"{1000}){1000}', "lower the repetitions"),
    ],
)
def test_a_grammar_that_explodes_is_refused(grammar: str, said: str) -> None:
    with pytest.raises(Unfit, match=said):
        check_grammar(grammar)


@given(st.text(alphabet=st.sampled_from("a(){}[]\\123,|*"), max_size=60))
def test_any_text_is_counted(pattern: str) -> None:
    assert pattern_states(pattern) >= 0


def test_the_worst_texts_are_counted_in_one_pass() -> None:
    began_s = time.process_time()
    for text in ("(" * bounds.MAX_GRAMMAR_BYTES, "(" * 8000 + ")" * 8000, "[" * 16_000):
        pattern_states(text)
    assert time.process_time() - began_s < 5  # quadratic, it would be minutes
