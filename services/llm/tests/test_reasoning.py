"""Thoughts are parted from answers, however the text is cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_llm.reasoning import CLOSE, OPEN, Parted, ThinkParser

PIECES = st.lists(
    st.sampled_from([OPEN, CLOSE, "<", "think", ">", "</", " ", "\n", "a", "Paris. "]), max_size=12
).map("".join)


def parted(pieces: list[str], *, opened: bool) -> Parted:
    parser = ThinkParser(opened=opened)
    found = [parser.feed(piece) for piece in pieces]
    found.append(parser.finish())
    return Parted(
        "".join(each.reasoning for each in found), "".join(each.content for each in found)
    )


@pytest.mark.parametrize(
    ("text", "opened", "reasoning", "content"),
    [
        ("<think>\nCapital?\n</think>\n\nParis.", False, "Capital?", "Paris."),
        ("Capital?\n</think>\n\nParis.", True, "Capital?", "Paris."),
        ("<think>\nCapital?\n</think>\n\nParis.", True, "Capital?", "Paris."),
        ("<think>\n\n</think>\n\nParis.", False, "", "Paris."),
        ("Paris.", False, "", "Paris."),
        ("  Paris.", False, "", "  Paris."),
        ("Paris. <think>a</think>", False, "", "Paris. <think>a</think>"),
        ("<think>It never ends ", False, "It never ends", ""),
        ("It never ends", True, "It never ends", ""),
        ("<think>a</thin", False, "a</thin", ""),
        ("<thi", False, "", "<thi"),
        ("<think>a</think>", False, "a", ""),
        ("<think>a</think> b</think>", False, "a", "b</think>"),
        ("", True, "", ""),
    ],
)
def test_whole(text: str, opened: bool, reasoning: str, content: str) -> None:
    assert parted([text], opened=opened) == Parted(reasoning, content)


@given(PIECES, st.lists(st.integers(0, 60)), st.booleans())
def test_cuts_make_no_difference(text: str, cuts: list[int], opened: bool) -> None:
    places = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    pieces = [text[start:end] for start, end in itertools.pairwise(places)]
    assert parted(pieces, opened=opened) == parted([text], opened=opened)


@given(PIECES, st.booleans())
def test_nothing_but_tags_and_white_space_is_lost(text: str, opened: bool) -> None:
    found = parted([text], opened=opened)
    said = "".join((found.reasoning + found.content).split())
    kept = "".join(text.split())
    without_open = kept.removeprefix(OPEN)
    candidates = {
        kept,
        without_open,
        without_open.replace(CLOSE, "", 1),
        kept.replace(CLOSE, "", 1),
    }
    assert said in candidates


def test_a_thought_comes_while_it_is_thought() -> None:
    parser = ThinkParser(opened=False)
    assert parser.feed("<think>One") == Parted(reasoning="One")
    assert parser.feed(" two </") == Parted(reasoning=" two")
    assert parser.feed("think> Three") == Parted(content="Three")
    assert parser.take(" four", ended=True) == Parted(content=" four")
