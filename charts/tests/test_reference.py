"""The page of the values says what the values are."""

import pytest

import reference
from reference import CHART, Value

TEXT = """\
# What all have.
all:
  # -- How many,
  # at least one.
  number: 3
  deep:
    # -- Some | words.
    words: [a, "b|c"]
    bare: true
  # -- Explained whole.
  whole:
    inner: {x: 1}

same: *all
"""


def test_a_comment_with_a_mark_explains_a_value() -> None:
    assert reference.values(TEXT.replace("*all", "1")) == [
        Value("all.number", "How many, at least one.", 3),
        Value("all.deep.words", "Some | words.", ["a", "b|c"]),
        Value("all.whole", "Explained whole.", {"inner": {"x": 1}}),
    ]


def test_what_no_comment_explains_is_named() -> None:
    assert reference.undocumented(TEXT) == ["all.deep.bare"]


def test_a_row_holds_what_a_table_would_break_on() -> None:
    assert '| `all.deep.words` | `["a", "b\\|c"]` |' in reference.table(TEXT.replace("*all", "1"))


def test_a_page_without_a_place_for_it_is_refused() -> None:
    with pytest.raises(ValueError, match="the README needs the lines"):
        reference.page("# A page\n", TEXT)


def test_every_value_of_the_chart_is_explained() -> None:
    assert reference.undocumented((CHART / "values.yaml").read_text(encoding="utf-8")) == []


def test_the_readme_is_made_from_the_values_of_today() -> None:
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    values = (CHART / "values.yaml").read_text(encoding="utf-8")
    assert reference.page(readme, values) == readme
