"""Fine-tunes encoder and heads together, with early stopping, and goes on after a kill."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mesh_classifier.training.batches import plan
from mesh_classifier.training.checkpoint import Checkpoint, State
from mesh_classifier.training.encoding import Places, Rows
from mesh_classifier.training.network import SentimentNetwork
from mesh_classifier.training.recipe import Outputs
from mesh_classifier.training.report.figures import Epoch
from mesh_pipelines.progress import progress_bar
from mesh_pipelines.text_encoder import PAD_ID
from meshkit.onnx import pad

# Seconds between checkpoints; one takes about a second to write.
_CHECKPOINT_S = 60.0
_EVALUATION_BATCH_SIZE = 64
_MAX_GRADIENT_NORM = 1.0


Answer = Callable[[Rows], Outputs]


@dataclass(frozen=True, slots=True)
class Settings:
    """How to fine-tune. Chosen on validation texts; nothing was tuned on the test part."""

    max_epochs: int = 4
    patience_epochs: int = 1
    """Epochs without a lower validation loss after which training stops."""
    batch_size: int = 32
    learning_rate: float = 1e-4
    """The highest; it rises over the first steps and falls linearly to zero at the end."""
    warmup_share: float = 0.1
    """Share of all steps over which the learning rate rises."""
    weight_decay: float = 0.01
    """Of matrices; biases and normalisation have none."""
    dropout: float = 0.1
    valence_weight: float = 0.1
    """Weight of the squared error of the valence against the cross-entropy of the labels."""


@dataclass(frozen=True, slots=True)
class Tokenized:
    """Texts as token ids, with their targets."""

    rows: Rows
    shares: Tensor
    """Soft targets: a distribution over the labels, float32 [n, labels]."""
    valences: Tensor
    """float32 [n]."""


@dataclass(slots=True)
class _Progress:
    """How far a fine-tuning is; what a checkpoint says beside the tensors."""

    step: int = 0
    """Steps that are done, over all epochs."""
    loss_sum: float = 0.0
    """Of the steps of the epoch that is under way."""
    epochs: list[Epoch] = field(default_factory=list)
    """Those that are done."""

    @property
    def best_epoch(self) -> int:
        """The one with the lowest validation loss, from 0."""
        return min(range(len(self.epochs)), key=lambda index: self.epochs[index].validation_loss)


class FineTuning:
    """One fine-tuning of a network, which `run` brings to its end."""

    def __init__(
        self,
        network: SentimentNetwork,
        training: Tokenized,
        validate: Callable[[Answer], float],
        settings: Settings,
        seed: int,
        checkpoint: Checkpoint,
    ) -> None:
        """Puts a training together.

        Args:
            network: what to train, on the device where it is; it holds the best weights in the
                end.
            training: what to train it on.
            validate: given what answers texts as the network now does, the validation loss.
            settings: how to train.
            seed: of the order of the texts. Dropout draws from torch's own generator, that of the
                device.
            checkpoint: where the state is kept.
        """
        self._network = network
        self._device = next(network.parameters()).device
        self._training = training
        self._validate = validate
        self._settings = settings
        self._seed = seed
        self._checkpoint = checkpoint
        self._optimizer = torch.optim.AdamW(_groups(network, settings.weight_decay))
        self._progress = _Progress()
        self._best: dict[str, Tensor] = {}
        self._steps_per_epoch = math.ceil(len(training.rows) / settings.batch_size)

    def run(self, say: Callable[[str], None]) -> list[Epoch]:
        """Trains until the validation loss no longer falls, and leaves the best weights in place.

        Args:
            say: told in one line what happens.

        Returns:
            The figures of each epoch.
        """
        if state := self._checkpoint.load():
            self._restore(state)
            say(f"going on after step {self._progress.step}, from a training that was cut off")
        while not self._done():
            self._run_epoch(say)
        self._network.load_state_dict(self._best)
        self._network.eval()
        return self._progress.epochs

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights are kept, from 0."""
        return self._progress.best_epoch

    def answer(self, rows: Rows) -> Outputs:
        """What the network answers to texts, in their order."""
        self._network.eval()
        order = np.argsort([len(row) for row in rows], kind="stable")
        parts = []
        with torch.inference_mode():
            for start in range(0, len(order), _EVALUATION_BATCH_SIZE):
                places = order[start : start + _EVALUATION_BATCH_SIZE]
                parts.append(self._network(*self._inputs(rows, places)))
        back = np.argsort(order)
        logits, valences = (
            torch.cat(part).cpu().numpy()[back] for part in zip(*parts, strict=True)
        )
        return Outputs(logits, valences)

    def _done(self) -> bool:
        progress, settings = self._progress, self._settings
        if not progress.epochs:
            return False
        since_best = len(progress.epochs) - 1 - progress.best_epoch
        return len(progress.epochs) >= settings.max_epochs or since_best > settings.patience_epochs

    def _run_epoch(self, say: Callable[[str], None]) -> None:
        progress = self._progress
        epoch = len(progress.epochs)
        batches = plan(self._training.rows, self._settings.batch_size, self._seed, epoch)
        done = progress.step - epoch * self._steps_per_epoch
        saved = time.monotonic()
        title = f"epoch {epoch + 1} of {self._settings.max_epochs} at most"
        self._network.train()
        with progress_bar(title, len(batches), "steps", done) as bar:
            for places in batches[done:]:
                progress.loss_sum += self._step(places)
                progress.step += 1
                bar.update()
                if time.monotonic() - saved > _CHECKPOINT_S:
                    self._save()
                    saved = time.monotonic()
        self._end_epoch(len(batches))
        figures = progress.epochs[-1]
        say(
            f"epoch {epoch + 1}: loss {figures.training_loss:.4f} in training, "
            f"{figures.validation_loss:.4f} on validation texts"
        )

    def _end_epoch(self, steps: int) -> None:
        progress = self._progress
        loss = self._validate(self.answer)
        progress.epochs.append(Epoch(progress.loss_sum / steps, loss))
        progress.loss_sum = 0.0
        if progress.best_epoch == len(progress.epochs) - 1:
            state = self._network.state_dict()
            self._best = {name: tensor.clone() for name, tensor in state.items()}
        self._save()

    def _step(self, places: Places) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate()
        training = self._training
        logits, valences = self._network(*self._inputs(training.rows, places))
        shares, truth = (each[places].to(self._device) for each in _targets(training))
        loss = self._loss(logits, valences, shares, truth)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), _MAX_GRADIENT_NORM)
        self._optimizer.step()
        return loss.item()

    def _learning_rate(self) -> float:
        total = self._steps_per_epoch * self._settings.max_epochs
        warmup = max(1, round(total * self._settings.warmup_share))
        step = self._progress.step + 1
        factor = step / warmup if step <= warmup else (total - step) / max(1, total - warmup)
        return self._settings.learning_rate * factor

    def _loss(self, logits: Tensor, valences: Tensor, shares: Tensor, truth: Tensor) -> Tensor:
        cross_entropy = -(shares * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()
        return cross_entropy + self._settings.valence_weight * (valences - truth).square().mean()

    def _save(self) -> None:
        tensors = {"random": self._random_state()}
        tensors |= {f"best.{name}": tensor for name, tensor in self._best.items()}
        moments = self._optimizer.state
        for name, parameter in self._network.named_parameters():
            tensors[f"now.{name}"] = parameter.detach()
            tensors[f"mean.{name}"] = moments[parameter]["exp_avg"]
            tensors[f"square.{name}"] = moments[parameter]["exp_avg_sq"]
        self._checkpoint.save(State(tensors, msgspec.to_builtins(self._progress)))

    def _restore(self, state: State) -> None:
        tensors = state.tensors
        self._progress = msgspec.convert(state.figures, _Progress)
        self._best = {
            name.removeprefix("best."): tensor
            for name, tensor in tensors.items()
            if name.startswith("best.")
        }
        step = torch.tensor(float(self._progress.step))
        with torch.no_grad():
            for name, parameter in self._network.named_parameters():
                parameter.copy_(tensors[f"now.{name}"])
                self._optimizer.state[parameter] = {
                    "step": step.clone(),
                    "exp_avg": tensors[f"mean.{name}"].to(self._device),
                    "exp_avg_sq": tensors[f"square.{name}"].to(self._device),
                }
        self._set_random_state(tensors["random"])

    def _random_state(self) -> Tensor:
        if self._device.type == "cuda":
            return torch.cuda.get_rng_state(self._device)
        return torch.get_rng_state()

    def _set_random_state(self, state: Tensor) -> None:
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(state, self._device)
        else:
            torch.set_rng_state(state)

    def _inputs(self, rows: Rows, places: npt.NDArray[np.int64]) -> list[Tensor]:
        arrays = pad([rows[place] for place in places], PAD_ID)
        return [torch.from_numpy(array).to(self._device) for array in arrays]


def _targets(training: Tokenized) -> tuple[Tensor, Tensor]:
    return training.shares, training.valences


def _groups(network: SentimentNetwork, weight_decay: float) -> list[dict[str, object]]:
    parameters = list(network.parameters())
    return [
        {"params": [each for each in parameters if each.ndim > 1], "weight_decay": weight_decay},
        {"params": [each for each in parameters if each.ndim < 2], "weight_decay": 0.0},
    ]
