"""The full recipe: encoder and heads are fine-tuned together."""

from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import torch

from mesh_classifier.calibration import LABELS, probabilities
from mesh_classifier.training.checkpoint import Checkpoint
from mesh_classifier.training.device import training_device
from mesh_classifier.training.encoding import tokenize
from mesh_classifier.training.evaluate import fit_temperature
from mesh_classifier.training.finetune import FineTuning, Settings, Tokenized
from mesh_classifier.training.identity import identity_of
from mesh_classifier.training.network import SentimentNetwork
from mesh_classifier.training.recipe import Task, Trained
from mesh_pipelines.splits import Part
from mesh_pipelines.statistics import cross_entropy
from mesh_pipelines.training.sentence_encoder import export_encoder
from mesh_pipelines.weighted import Labels

SETTINGS = Settings()


def train(task: Task) -> Trained:
    """Fine-tunes on all training texts; goes on with one of the same kind that was cut off."""
    settings = SETTINGS
    examples, validation = task.examples[Part.TRAIN], task.examples[Part.VALIDATION]
    training = Tokenized(
        tokenize(task.tokenizer, examples.texts),
        torch.from_numpy(examples.shares).float(),
        torch.from_numpy(examples.valences).float(),
    )
    rows = tokenize(task.tokenizer, validation.texts)
    network = SentimentNetwork(task.encoder, settings.dropout)
    device = training_device()
    start = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    identity = identity_of(
        start,
        {"shares": training.shares.numpy(), "valences": training.valences.numpy()},
        training.rows,
        {**asdict(settings), "seed": task.seed, "device": device.type},
    )
    tuning = FineTuning(
        network.to(device),
        training,
        lambda answer: calibrated_loss(answer(rows).logits, validation.labels),
        settings,
        task.seed,
        Checkpoint(task.checkpoint, identity),
    )
    task.say(f"fine-tuning on {len(training.rows)} texts, on {device.type}")
    epochs = tuning.run(task.say)
    answers = tuning.answer(rows)
    network.cpu()
    graph = task.workspace / "tuned-encoder.onnx"
    task.say("exporting the encoder")
    export_encoder(network.encoder, graph)
    return Trained(
        encoder=network.encoder,
        encoder_graph=graph,
        heads=network.heads(),
        validation=answers,
        settings={
            "training_texts": len(training.rows),
            "epochs": len(epochs),
            "best_epoch": tuning.best_epoch + 1,
            **asdict(settings),
        },
        epochs=epochs,
    )


def calibrated_loss(logits: npt.NDArray[np.floating], labels: Labels) -> float:
    """The cross-entropy of the labels once the logits are scaled by their best temperature.

    What ships is scaled, so being too sure, which begins before accuracy ends to rise, is no reason
    to stop.
    """
    shares = probabilities(logits, fit_temperature(logits, labels))
    return cross_entropy(np.eye(len(LABELS))[labels], shares)
