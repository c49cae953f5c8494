"""A version of the model: what it gives, on what that depends, and which versions are refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recorded
from mesh_embedder.inputs import Embedding, Input, TokenIds, TooLong
from mesh_embedder.network import Network, load
from meshkit.errors import StartError
from meshkit.onnx import FloatArray
from meshkit.store import DamagedVersion, Version
from support import CAT_IDS, DIMENSIONS, TEXTS, TOLERANCE, vectors

START, END = 101, 102


def asked(
    content: str | TokenIds, max_tokens: int = 256, *, truncate: bool = True, width: int = 384
) -> Input:
    return Input(content, width, max_tokens, truncate)


def embed(network: Network, *inputs: Input) -> list[Embedding | TooLong]:
    return network.embed(network.max_length, inputs)


def one(network: Network, each: Input) -> Embedding:
    (answer,) = embed(network, each)
    assert isinstance(answer, Embedding)
    return answer


def alone(network: Network, texts: list[str]) -> FloatArray:
    return vectors([one(network, asked(text)) for text in texts])


# What it gives.


def test_embeddings_have_length_one(network: Network) -> None:
    answers = vectors(embed(network, *map(asked, TEXTS)))
    assert answers.shape == (len(TEXTS), DIMENSIONS)
    assert answers.dtype == np.float32
    lengths = np.linalg.norm(answers.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=0, atol=1e-6)


def test_what_means_the_same_lies_close_by(network: Network) -> None:
    cat, kitten, market = alone(network, TEXTS[:3])
    assert cat @ kitten > 0.5
    assert cat @ market < 0.2


def test_tokens_are_counted_with_the_special_ones(network: Network) -> None:
    assert one(network, asked("a cat sits on the mat.")).tokens == len(CAT_IDS) + 2
    assert one(network, asked("word " * 400)).tokens == 256


def test_token_ids_are_the_text_they_stand_for(network: Network) -> None:
    text = one(network, asked("A cat sits on the mat."))
    for ids in (CAT_IDS, (START, *CAT_IDS, END)):
        from_ids = one(network, asked(ids))
        np.testing.assert_array_equal(from_ids.values, text.values)
        assert from_ids.tokens == text.tokens
    np.testing.assert_array_equal(one(network, asked((END,))).values.shape, (DIMENSIONS,))


def test_they_agree_with_the_reference_implementation(network: Network, version: Version) -> None:
    vectors = recorded.read()
    expected = np.stack([vectors[text] for text in TEXTS]).astype(np.float64)
    cosines = np.sum(alone(network, TEXTS) * expected, axis=1)
    assert cosines.min() > 0.9999
    assert version.record["metrics"]["min_cosine"] > 0.9999


def test_the_special_tokens_are_those_of_the_tokenizer(version: Version) -> None:
    config = json.loads(version.file("config.json").read_text())
    vocabulary = json.loads(version.file("tokenizer.json").read_text())["model"]["vocab"]
    for name, token in (("pad_id", "[PAD]"), ("start_id", "[CLS]"), ("end_id", "[SEP]")):
        assert config[name] == vocabulary[token]


# What counts of a long input.


def test_only_the_beginning_of_a_long_text_counts(network: Network) -> None:
    # Each of these words is one token, and two special ones go around them.
    exact = "good " * 254
    whole, cut, longer = embed(
        network, asked(exact), asked(exact + "bad"), asked(exact + "bad " * 900)
    )
    assert isinstance(whole, Embedding)
    assert isinstance(cut, Embedding)
    assert isinstance(longer, Embedding)
    assert (whole.truncated, cut.truncated, longer.truncated) == (False, True, True)
    np.testing.assert_allclose(cut.values, whole.values, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(longer.values, whole.values, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("content", ["good " * 20 + "bad", [2204] * 20 + [2919]])
def test_fewer_tokens_count_where_fewer_are_asked_for(
    network: Network, content: str | TokenIds
) -> None:
    whole = one(network, asked("good " * 20))
    cut = one(network, asked(content, max_tokens=22))
    assert (cut.truncated, cut.tokens) == (True, 22)
    np.testing.assert_allclose(cut.values, whole.values, rtol=0, atol=TOLERANCE)
    assert one(network, asked(content, max_tokens=23)).truncated is False
    shortest = one(network, asked(content, max_tokens=3))
    np.testing.assert_allclose(
        shortest.values, one(network, asked("good")).values, rtol=0, atol=TOLERANCE
    )


def test_what_may_not_be_cut_is_counted_and_its_neighbours_are_embedded(network: Network) -> None:
    long, short, ids = embed(
        network,
        asked("good " * 300, truncate=False),
        asked("good", truncate=False),
        asked([2204] * 10, max_tokens=11, truncate=False),
    )
    assert long == TooLong(302)
    assert isinstance(short, Embedding)
    assert ids == TooLong(12)
    assert embed(network, asked("good " * 255, truncate=False)) == [TooLong(257)]


# On what it depends.


def test_an_embedding_does_not_depend_on_its_neighbours(network: Network) -> None:
    expected = alone(network, TEXTS)
    together = vectors(embed(network, *map(asked, TEXTS)))
    turned = vectors(embed(network, *map(asked, TEXTS[::-1])))[::-1]
    np.testing.assert_allclose(together, expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(turned, expected, rtol=0, atol=TOLERANCE)


@given(
    st.lists(
        st.one_of(
            st.text(st.characters(codec="utf-8"), min_size=1, max_size=60),
            st.lists(st.integers(0, 30_521), min_size=1, max_size=40),
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=15)
def test_whatever_is_asked_each_has_an_answer_of_its_own(
    network: Network, contents: list[str | list[int]]
) -> None:
    answers = vectors(embed(network, *map(asked, contents)))
    expected = [one(network, asked(content)).values for content in contents]
    np.testing.assert_allclose(answers, expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(np.linalg.norm(answers, axis=1), 1, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("each", "bucket"),
    [
        (asked("ok"), 16),
        (asked("x" * 100), 32),
        (asked("x" * 65_536), 256),
        (asked("x" * 65_536, max_tokens=20), 32),
        (asked([7] * 14), 16),
        (asked([7] * 15), 32),
        (asked([7] * 5000), 256),
    ],
)
def test_inputs_of_like_length_share_a_bucket(network: Network, each: Input, bucket: int) -> None:
    assert network.bucket(each) == bucket


def test_fewer_dimensions_are_the_first_ones_at_length_one(network: Network) -> None:
    whole, part = one(network, asked("good")).values, one(network, asked("good", width=64)).values
    assert part.shape == (64,)
    np.testing.assert_allclose(part, whole[:64] / np.linalg.norm(whole[:64]), rtol=0, atol=1e-6)


# Which versions are refused.


def changed(version: Version, **fields: Any) -> Version:
    return replace(version, record={**version.record, **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dimensions": 0}, r"\$\.dimensions"),
        ({"allowed_dimensions": []}, r"\$\.allowed_dimensions"),
        ({"allowed_dimensions": [385]}, "allows 385 dimensions and has 384; make the version"),
        ({"base": None}, r"\$\.base"),
        ({"metrics": {"min_cosine": "high"}}, r"\$\.metrics"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(
    version: Version, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(DamagedVersion, match=message):
        load(changed(version, **fields), max_batch_size=1, threads=1)


def test_a_graph_of_other_dimensions_is_refused(version: Version) -> None:
    with pytest.raises(StartError, match=r"shape \(1, 384\) .*record says 512 dimensions"):
        load(changed(version, dimensions=512), max_batch_size=1, threads=1)


@pytest.mark.parametrize(
    "config", [{}, {"max_length": 2, "pad_id": 0, "start_id": 1, "end_id": 2}, {"max_length": "x"}]
)
def test_a_config_that_does_not_fit_is_refused(
    version: Version, tmp_path: Path, config: dict[str, Any]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    files = {**version.files, "config.json": tmp_path / "config.json"}
    with pytest.raises(DamagedVersion, match=r"config\.json does not fit this release"):
        load(replace(version, files=files), max_batch_size=1, threads=1)
