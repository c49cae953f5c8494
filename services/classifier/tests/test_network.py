"""A trained version: what it answers, on what that depends, and which versions are refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mesh_classifier.answers import Classification
from mesh_classifier.calibration import LABELS
from mesh_classifier.network import Network, load
from meshkit.errors import StartError
from meshkit.onnx import TextTokenizer
from meshkit.store import DamagedVersion, Version
from reference import Reference
from support import TEXTS, load_network

# Single against double precision over six layers.
PROBABILITY_TOLERANCE = 1e-5
VALENCE_TOLERANCE = 1e-4


def one_by_one(network: Network, texts: list[str]) -> list[Classification]:
    return [network.classify(16, [text])[0] for text in texts]


def probabilities(answers: list[Classification]) -> np.ndarray:
    return np.array([answer.probabilities for answer in answers])


# What it answers.


def test_answers_like_an_independent_computation(version: Version, fp32: Network) -> None:
    reference = Reference(version.file("model.fp32.onnx"))
    temperature = version.record["temperature"]
    answers = fp32.classify(256, TEXTS)
    for tokens, answer in zip(
        TextTokenizer(version.file("tokenizer.json"), fp32.max_length).encode(TEXTS),
        answers,
        strict=True,
    ):
        logits, valence = reference(list(tokens.ids))
        powers = np.exp(logits / temperature)
        np.testing.assert_allclose(
            answer.probabilities, powers / powers.sum(), rtol=0, atol=PROBABILITY_TOLERANCE
        )
        assert answer.valence == pytest.approx(valence, abs=VALENCE_TOLERANCE)


@pytest.mark.parametrize("network", ["fp32", "int8"])
def test_answers_are_whole(network: str, request: pytest.FixtureRequest) -> None:
    for answer in one_by_one(request.getfixturevalue(network), TEXTS):
        assert answer.label in LABELS
        assert len(answer.probabilities) == len(LABELS)
        assert sum(answer.probabilities) == pytest.approx(1, abs=1e-12)
        assert all(0 <= probability <= 1 for probability in answer.probabilities)
        assert -4 <= answer.valence <= 4
        assert answer.degraded is None


def test_tells_good_from_bad(fp32: Network) -> None:
    good, bad = one_by_one(fp32, ["I love it, wonderful!", "Terrible, I hate it."])
    assert (good.label, bad.label) == ("positive", "negative")
    assert bad.valence < 0 < good.valence


def test_says_which_texts_it_did_not_read_to_their_end(fp32: Network) -> None:
    # Each of these words is one token, and two special ones go around them.
    exact = "good " * (fp32.max_length - 2)
    whole, cut, longer = fp32.classify(256, [exact, exact + "bad", exact + "bad " * 900])
    assert (whole.truncated, cut.truncated, longer.truncated) == (False, True, True)
    assert cut.probabilities == pytest.approx(whole.probabilities, abs=PROBABILITY_TOLERANCE)


# On what the answer depends.


def test_fp32_answers_do_not_depend_on_neighbours(fp32: Network) -> None:
    alone = probabilities(one_by_one(fp32, TEXTS))
    together = probabilities(fp32.classify(256, TEXTS))
    reversed_order = probabilities(fp32.classify(256, TEXTS[::-1]))[::-1]
    np.testing.assert_allclose(together, alone, rtol=0, atol=PROBABILITY_TOLERANCE)
    np.testing.assert_allclose(reversed_order, alone, rtol=0, atol=PROBABILITY_TOLERANCE)


def test_int8_is_served_one_text_at_a_time_where_it_depends_on_neighbours(version: Version) -> None:
    measured = version.record["batch_invariance"]["int8"]
    loaded = load(version, "int8", max_batch_size=32, threads=2)
    assert loaded.plan.max_batch_size == min(32, measured["max_batch_size"])
    assert measured["flipped_share"] < 0.01 or version.record["default_precision"] == "fp32"


def test_int8_as_it_is_served_agrees_with_fp32(int8: Network, fp32: Network) -> None:
    exact, rounded = (probabilities(one_by_one(network, TEXTS)) for network in (fp32, int8))
    # 8-bit activations move a probability; a wrong scale or layout would move it much further.
    assert np.abs(exact - rounded).mean() < 0.05


def test_auto_takes_the_default_of_the_version(version: Version) -> None:
    loaded = load(version, "auto", max_batch_size=4, threads=2)
    assert loaded.precision == version.record["default_precision"]
    assert loaded.metrics == version.record["metrics_by_precision"][loaded.precision]


# How it is run.


@pytest.mark.parametrize(
    ("text", "bucket"), [("ok", 16), ("x" * 100, 32), ("x" * 65_536, 256), ("\u4eca" * 20, 32)]
)
def test_texts_of_like_length_share_a_bucket(fp32: Network, text: str, bucket: int) -> None:
    assert fp32.bucket(text) == bucket


# Which versions are refused.


def changed(version: Version, **fields: Any) -> Version:
    return replace(version, record={**version.record, **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 0.0}, r"\$\.temperature"),
        ({"thresholds": {"negative": -0.1}}, r"\$\.thresholds"),
        ({"thresholds": {"negative": 0.1}}, "thresholds for .*train again"),
        ({"labels": ["good", "bad"]}, "has the labels .*train again"),
        ({"default_precision": "int4"}, r"\$\.default_precision"),
        ({"metrics_by_precision": {"fp32": {}}}, "was not measured in int8"),
        ({"batch_invariance": {"fp32": {"max_batch_size": 0}}}, r"\$\.batch_invariance"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(
    version: Version, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(DamagedVersion, match=message):
        load(changed(version, **fields), "fp32", max_batch_size=1, threads=1)


def with_file(version: Version, folder: Path, name: str, content: bytes) -> Version:
    (folder / name).write_bytes(content)
    return replace(version, files={**version.files, name: folder / name})


@pytest.mark.parametrize("config", [{}, {"max_length": 2, "pad_id": 0}, {"max_length": "x"}])
def test_a_config_that_does_not_fit_is_refused(
    version: Version, tmp_path: Path, config: dict[str, Any]
) -> None:
    damaged = with_file(version, tmp_path, "config.json", json.dumps(config).encode())
    with pytest.raises(DamagedVersion, match=r"config\.json does not fit this release"):
        load_network(damaged, "fp32")


def test_a_version_that_does_not_run_is_refused(version: Version, tmp_path: Path) -> None:
    # The graph knows 512 positions, so a longer text, which this config allows, does not run.
    config = json.dumps({"max_length": 1024, "pad_id": 0}).encode()
    with pytest.raises(StartError, match=r"the model fails on \d+ x 1024 tokens"):
        load_network(with_file(version, tmp_path, "config.json", config), "fp32", width=1)
