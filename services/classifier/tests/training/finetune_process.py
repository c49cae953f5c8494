"""What a process does that is to be killed while it trains."""

from multiprocessing.connection import Connection
from pathlib import Path

import torch
from safetensors.torch import save_file

from mesh_classifier.training import finetune
from mesh_classifier.training.checkpoint import Checkpoint, State
from mesh_classifier.training.device import training_device
from mesh_classifier.training.finetune import FineTuning, Settings
from training import tiny

SETTINGS = Settings(max_epochs=3, batch_size=8, learning_rate=3e-3, patience_epochs=3)
TEXTS = 200


class Saying(Checkpoint):
    """A checkpoint that says which steps it has saved."""

    def __init__(self, path: Path, saved: Connection) -> None:
        super().__init__(path, "this training")
        self._saved = saved

    def save(self, state: State) -> None:
        super().save(state)
        self._saved.send(state.figures["step"])


def train(checkpoint: Path, result: Path, saved: Connection) -> None:
    """Fine-tunes the tiny network, saving after each step.

    Args:
        checkpoint: the file to save in, and to go on from.
        result: where the trained weights go.
        saved: told each step that is saved.
    """
    finetune._CHECKPOINT_S = -1
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    device = training_device()
    network = tiny.network().to(device)
    training, _ = tiny.texts(TEXTS, 1)
    validation, labels = tiny.texts(60, 2)
    torch.manual_seed(20)
    tuning = FineTuning(
        network,
        training,
        tiny.judged_on(validation, labels),
        SETTINGS,
        7,
        Saying(checkpoint, saved),
    )
    tuning.run(lambda line: None)
    save_file(network.state_dict(), result)
