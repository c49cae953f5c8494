"""The form of API keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit.errors import Unauthenticated
from meshkit.keys import ApiKey


class TestApiKey:
    def test_a_key_is_what_it_was_made_as(self) -> None:
        key = ApiKey.generate()
        assert ApiKey.parse(key.text) == key
        assert key.text.startswith(f"mesh_{key.id}_")

    def test_two_keys_differ(self) -> None:
        assert len({ApiKey.generate().text for _ in range(100)}) == 100

    @given(st.integers(0, 55), st.characters(codec="ascii"))
    def test_one_wrong_character_is_noticed(self, place: int, character: str) -> None:
        text = ApiKey.generate().text
        mistyped = text[:place] + character + text[place + 1 :]
        if mistyped != text:
            with pytest.raises(Unauthenticated, match="malformed"):
                ApiKey.parse(mistyped)

    @given(st.integers(0, 54))
    def test_two_swapped_characters_are_noticed(self, place: int) -> None:
        text = ApiKey.generate().text
        swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
        if swapped != text:
            with pytest.raises(Unauthenticated):
                ApiKey.parse(swapped)

    @given(st.text())
    def test_any_other_text_is_malformed(self, text: str) -> None:
        with pytest.raises(Unauthenticated) as caught:
            ApiKey.parse(text)
        assert caught.value.reason == "KEY_MALFORMED"

    def test_surroundings_are_not_cut_off(self) -> None:
        with pytest.raises(Unauthenticated):
            ApiKey.parse(ApiKey.generate().text + "\n")

    def test_the_secret_is_in_no_repr(self) -> None:
        key = ApiKey.generate()
        assert repr(key) == f"ApiKey(id='{key.id}')"
