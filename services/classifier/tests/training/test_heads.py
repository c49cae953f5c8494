"""The heads on embeddings whose targets are known."""

import numpy as np
import torch

from mesh_classifier.training.heads import Sample, fit_heads
from mesh_classifier.training.network import apply_heads

WIDTH = 8


def sample(seed: int, count: int = 600) -> Sample:
    """Columns of unlike scales, one that never changes, and targets that follow from them."""
    random = np.random.default_rng(seed)
    embeddings = random.normal(3, [0.01, 0.1, 1, 1, 1, 1, 10, 0], (count, WIDTH)).astype(np.float32)
    standard = (embeddings[:, :6] - 3) / [0.01, 0.1, 1, 1, 1, 1]
    logits = standard @ np.random.default_rng(0).normal(0, 1, (6, 3))
    powers = np.exp(logits)
    valences = 4 * np.tanh(0.5 * standard[:, 0] - 0.2)
    return Sample(embeddings, powers / powers.sum(axis=1, keepdims=True), valences)


def test_heads_learn_what_follows_from_the_embeddings() -> None:
    heads, _ = fit_heads(sample(1), sample(2))
    held_out = sample(3)
    logits, valences = apply_heads(heads, torch.from_numpy(held_out.embeddings))
    shares = torch.softmax(logits, dim=1).numpy()
    assert np.abs(shares - held_out.shares).mean() < 0.05
    assert np.abs(valences.numpy() - held_out.valences).mean() < 0.15
    assert (shares.argmax(axis=1) == held_out.shares.argmax(axis=1)).mean() > 0.95


def test_a_fit_can_be_repeated_to_the_bit() -> None:
    first, chosen_first = fit_heads(sample(1), sample(2))
    second, chosen_second = fit_heads(sample(1), sample(2))
    assert chosen_first == chosen_second
    assert first.label_weight.tobytes() == second.label_weight.tobytes()
    assert first.valence_bias.tobytes() == second.valence_bias.tobytes()


def test_noise_asks_for_a_strong_penalty() -> None:
    def noise(seed: int) -> Sample:
        known = sample(seed, count=100)
        random = np.random.default_rng(seed)
        return Sample(
            known.embeddings, random.dirichlet([1, 1, 1], 100), random.uniform(-4, 4, 100)
        )

    _, of_noise = fit_heads(noise(1), noise(2))
    _, of_signal = fit_heads(sample(1), sample(2))
    assert of_noise["label_penalty"] > of_signal["label_penalty"]
    assert of_noise["valence_penalty"] > of_signal["valence_penalty"]


def test_heads_are_float32_and_of_the_shapes_of_the_graph() -> None:
    heads, _ = fit_heads(sample(1), sample(2))
    shapes = [heads.label_weight, heads.label_bias, heads.valence_weight, heads.valence_bias]
    assert [array.shape for array in shapes] == [(WIDTH, 3), (3,), (WIDTH, 1), (1,)]
    assert {array.dtype for array in shapes} == {np.dtype(np.float32)}
