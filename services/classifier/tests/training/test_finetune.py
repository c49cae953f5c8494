"""Fine-tuning: that it learns, when it stops, and that a kill changes nothing of the outcome."""

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch

from mesh_classifier.training.checkpoint import Checkpoint
from mesh_classifier.training.device import training_device
from mesh_classifier.training.finetune import Answer, FineTuning, Settings
from training import finetune_process, tiny
from training.finetune_process import SETTINGS, TEXTS

STEPS = SETTINGS.max_epochs * TEXTS // SETTINGS.batch_size


DEVICE = training_device()
"""CUDA where there is any, so that these tests show that too."""


@pytest.fixture(autouse=True)
def _deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def tuning_of(path: Path, settings: Settings, losses: Sequence[float] = ()) -> FineTuning:
    """A fine-tuning of the tiny network; with `losses` it is told those of validation."""
    told = iter(losses)
    validation, labels = tiny.texts(90, 2)
    judge = tiny.judged_on(validation, labels)

    def validate(answer: Answer) -> float:
        return next(told) if losses else judge(answer)

    torch.manual_seed(20)
    return FineTuning(
        tiny.network().to(DEVICE),
        tiny.texts(240, 1)[0],
        validate,
        settings,
        7,
        Checkpoint(path / "checkpoint.safetensors", "test"),
    )


def test_it_learns_what_can_be_learnt(tmp_path: Path) -> None:
    tuning = tuning_of(tmp_path, Settings(max_epochs=5, batch_size=8, learning_rate=5e-3))
    epochs = tuning.run(lambda line: None)
    assert epochs[-1].training_loss < epochs[0].training_loss / 2
    unseen, labels = tiny.texts(200, 3)
    answers = tuning.answer(unseen.rows)
    assert (answers.logits.argmax(axis=1) == labels).mean() > 0.9
    assert np.abs(answers.valences - (labels - 1) * 2).mean() < 0.7


@pytest.mark.parametrize(
    ("losses", "epochs", "best"),
    [
        ([3, 2, 1, 0.5], 4, 3),  # still falling at the last epoch
        ([1, 2, 3], 3, 0),  # two in a row without a lower loss
        ([2, 1, 1, 1], 4, 1),  # an equal loss is no lower one; of equals the first is kept
        ([3, 4, 2, 3], 4, 2),
    ],
)
def test_it_stops_when_the_loss_no_longer_falls(
    tmp_path: Path, losses: list[float], epochs: int, best: int
) -> None:
    tuning = tuning_of(tmp_path, Settings(max_epochs=4, patience_epochs=1), losses)
    assert [epoch.validation_loss for epoch in tuning.run(lambda line: None)] == losses[:epochs]
    assert tuning.best_epoch == best


def test_it_leaves_the_weights_of_the_best_epoch(tmp_path: Path) -> None:
    rows = tiny.texts(20, 4)[0].rows
    seen = []
    tuning = tuning_of(tmp_path, Settings(max_epochs=3, learning_rate=1e-2), [2.0, 1.0, 3.0])
    tuning.run(lambda line: seen.append(tuning.answer(rows).logits))
    final = tuning.answer(rows).logits
    assert (final == seen[1]).all()
    assert (final != seen[0]).any()
    assert (final != seen[2]).any()


def test_the_learning_rate_rises_and_falls_to_nothing(tmp_path: Path) -> None:
    settings = Settings(max_epochs=2, batch_size=24, warmup_share=0.25, learning_rate=1e-3)
    tuning = tuning_of(tmp_path, settings)
    rates = []
    for step in range(20):  # 240 texts are 10 steps an epoch
        tuning._progress.step = step
        rates.append(tuning._learning_rate())
    assert rates[:5] == pytest.approx([2e-4, 4e-4, 6e-4, 8e-4, 1e-3])
    assert rates[5:] == pytest.approx(np.linspace(1e-3, 0, 16)[1:])


def test_a_batch_answers_like_one_by_one(tmp_path: Path) -> None:
    tuning = tuning_of(tmp_path, Settings())
    rows = tiny.texts(70, 5)[0].rows
    together = tuning.answer(rows)
    for place in (0, 33, 69):
        alone = tuning.answer([rows[place]])
        assert alone.logits[0] == pytest.approx(together.logits[place], abs=1e-5)
        assert alone.valences[0] == pytest.approx(together.valences[place], abs=1e-5)


@contextmanager
def process(checkpoint: Path, result: Path) -> Iterator[tuple[BaseProcess, Connection]]:
    """A process that trains, and what tells the steps that it has saved."""
    # Forked from a server that has loaded torch already, which takes ten seconds each time.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mesh_classifier.training.full"])
    saved, told = context.Pipe(duplex=False)
    child = context.Process(target=finetune_process.train, args=(checkpoint, result, told))
    child.start()
    told.close()
    try:
        yield child, saved
    finally:
        child.kill()
        child.join()
        saved.close()


def steps(saved: Connection) -> Iterator[int]:
    """The steps that are saved, until the process ends."""
    while True:
        try:
            yield saved.recv()
        except EOFError:
            return


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    with process(folder / "checkpoint.safetensors", folder / "result") as (child, saved):
        assert list(steps(saved))[-1] == STEPS
        child.join()
        assert child.exitcode == 0
    return (folder / "result").read_bytes()


@pytest.mark.parametrize("kills", [[5], [24, 25, 26], [40, 60, 74]])
def test_a_killed_training_ends_as_one_that_was_not(
    tmp_path: Path, uninterrupted: bytes, kills: list[int]
) -> None:
    checkpoint, result = tmp_path / "checkpoint.safetensors", tmp_path / "result"
    reached = 0
    for kill in kills:
        with process(checkpoint, result) as (child, saved):
            for step in steps(saved):
                # An epoch ends with a save of its own, which may come again after a kill.
                assert step > reached or (step == reached and step % 25 == 0)
                reached = step
                if reached >= kill:
                    child.kill()
                    break
    with process(checkpoint, result) as (child, saved):
        assert next(steps(saved)) >= reached
        child.join()
        assert child.exitcode == 0
    assert result.read_bytes() == uninterrupted
