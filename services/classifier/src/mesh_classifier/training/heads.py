"""Fits the two heads on fixed embeddings, by L-BFGS: deterministic, and done in seconds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mesh_classifier.calibration import MAX_VALENCE
from mesh_classifier.training.network import Heads

# Weights of the squared norm that are tried, from strong to weak.
PENALTIES = (1.0, 3e-1, 1e-1, 3e-2, 1e-2)
_ITERATIONS = 200

Floats32 = npt.NDArray[np.float32]
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Sample:
    """Embedded texts with their targets."""

    embeddings: Floats32
    """Shape [n, width]."""
    shares: npt.NDArray[np.float64]
    """Shares of the raters below, at and above zero; shape [n, labels]."""
    valences: npt.NDArray[np.float64]
    """Shape [n]."""

    def where(self, chosen: npt.NDArray[np.bool_]) -> Self:
        """The texts for which `chosen`, bool [n], is true."""
        return type(self)(self.embeddings[chosen], self.shares[chosen], self.valences[chosen])


def fit_heads(train: Sample, validation: Sample) -> tuple[Heads, dict[str, float]]:
    """Fits both heads, each with the penalty that does best on validation.

    Returns:
        The heads, and the penalties that were chosen.
    """
    mean = train.embeddings.mean(axis=0)
    deviation = train.embeddings.std(axis=0)
    # A column that never changes tells nothing; it is left as it is.
    scale = np.where(deviation > 1e-6, deviation, np.float32(1))
    inputs = [_inputs((part.embeddings - mean) / scale) for part in (train, validation)]
    shares = [torch.from_numpy(part.shares).float() for part in (train, validation)]
    valences = [torch.from_numpy(part.valences).float()[:, None] for part in (train, validation)]
    labels, label_penalty = _fit(inputs, shares, _label_loss)
    valence, valence_penalty = _fit(inputs, valences, _valence_loss)
    heads = Heads(*_fold(labels, mean, scale), *_fold(valence, mean, scale))
    return heads, {"label_penalty": label_penalty, "valence_penalty": valence_penalty}


def _fit(inputs: list[Tensor], targets: list[Tensor], loss: Loss) -> tuple[Tensor, float]:
    """Weights [width + 1, columns] and their penalty; the lists hold training, then validation."""
    weights = torch.zeros(inputs[0].shape[1], targets[0].shape[1])
    best = (float("inf"), 0.0, weights)
    for penalty in PENALTIES:
        weights = _minimise(weights, inputs[0], targets[0], penalty, loss)
        value = float(loss(inputs[1] @ weights, targets[1]))
        if value < best[0]:
            best = (value, penalty, weights)
    return best[2], best[1]


def _minimise(start: Tensor, inputs: Tensor, targets: Tensor, penalty: float, loss: Loss) -> Tensor:
    weights = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([weights], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        # The last row is the bias, which is not penalised.
        value = loss(inputs @ weights, targets) + penalty * weights[:-1].square().sum()
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return value.item()

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # the same
    return weights.detach()


def _label_loss(outputs: Tensor, shares: Tensor) -> Tensor:
    return -(shares * torch.log_softmax(outputs, dim=1)).sum(dim=1).mean()


def _valence_loss(outputs: Tensor, valences: Tensor) -> Tensor:
    return (MAX_VALENCE * torch.tanh(outputs) - valences).square().mean()


def _inputs(standardised: npt.NDArray[np.float32]) -> Tensor:
    """Appends the column of ones that carries the bias."""
    return torch.nn.functional.pad(torch.from_numpy(standardised), (0, 1), value=1.0)


def _fold(weights: Tensor, mean: Floats32, scale: Floats32) -> tuple[Floats32, Floats32]:
    """Weight and bias for embeddings as the encoder gives them, not standardised."""
    weight: Floats32 = np.divide(weights[:-1].numpy(), scale[:, None], dtype=np.float32)
    bias: Floats32 = weights[-1].numpy() - mean @ weight
    return weight, bias
