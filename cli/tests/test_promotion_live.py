"""What makes an answer unsound, and a run of calls that finds it."""

import asyncio
import math
from collections.abc import Callable, Sequence

import pytest

from mesh.classifier.v1 import classifier_pb2
from mesh_cli.promotion import answers, live
from mesh_cli.promotion.outcomes import Outcome, Verdict
from mesh_cli.promotion.policy import Case, Golden, Load
from meshkit.client import Client
from small_versions import LABELS

Response = classifier_pb2.ClassifyResponse


def response() -> Response:
    """A sound answer to one text."""
    found = Response()
    found.lineage.version = "v1"
    answer = found.results.add().classification
    answer.label, answer.valence = "positive", 1.5
    for label, probability in zip(LABELS, (0.1, 0.2, 0.7), strict=True):
        answer.probabilities.add(label=label, probability=probability)
    return found


def faults(change: Callable[[Response], None]) -> list[str]:
    changed = response()
    change(changed)
    return answers.faults(changed, ["a text"], "v1", LABELS)


def other_version(found: Response) -> None:
    found.lineage.version = "v2"


def two_results(found: Response) -> None:
    found.results.append(found.results[0])


def item_error(found: Response) -> None:
    found.results[0].error.reason = "MODEL_FAILED"


def fallback(found: Response) -> None:
    found.results[0].classification.degraded.reason = "a rule"


def unknown_label(found: Response) -> None:
    found.results[0].classification.label = "joyful"


def other_labels(found: Response) -> None:
    found.results[0].classification.probabilities[0].label = "joyful"


def over_one(found: Response) -> None:
    found.results[0].classification.probabilities[0].probability = 0.2


def below_zero(found: Response) -> None:
    found.results[0].classification.probabilities[0].probability = -0.1
    found.results[0].classification.probabilities[2].probability = 0.9


def no_number(found: Response) -> None:
    found.results[0].classification.probabilities[0].probability = math.nan


def too_strong(found: Response) -> None:
    found.results[0].classification.valence = 4.5


def no_strength(found: Response) -> None:
    found.results[0].classification.valence = math.nan


def test_a_sound_answer_has_no_fault() -> None:
    assert faults(lambda _: None) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (other_version, "version 'v2' answered instead of v1"),
        (two_results, "2 results to 1 texts"),
        (item_error, "a text got the error MODEL_FAILED"),
        (fallback, "a fallback answered: a rule"),
        (unknown_label, "the label 'joyful'"),
        (other_labels, "the label 'positive' of ['joyful', 'neutral', 'positive']"),
        (over_one, "which are none"),
        (below_zero, "which are none"),
        (no_number, "which are none"),
        (too_strong, "the valence 4.5"),
        (no_strength, "the valence nan"),
    ],
)
def test_an_unsound_answer_is_named(change: Callable[[Response], None], fault: str) -> None:
    (found,) = faults(change)
    assert fault in found


def test_calls_that_nobody_answers_are_counted_and_named() -> None:
    async def run() -> tuple[Outcome, Outcome]:
        async with Client("classifier", "127.0.0.1:1", max_message_bytes=2**20) as client:
            wanted = Load(calls=20, callers=4, texts_per_call=2)
            golden = Golden([Case("praise", "good", label="positive")])

            async def ask(texts: Sequence[str]) -> list[str]:
                response = await answers.classify(client, texts)
                return answers.faults(response, texts, "v1", LABELS)

            return (
                await live.load(ask, ["a text"], wanted),
                await live.golden(client, "v1", LABELS, golden),
            )

    load, golden = asyncio.run(run())
    assert load.verdict is golden.verdict is Verdict.FAILED
    assert load.summary.startswith("20 faults in 20 calls; UNAVAILABLE: no replica of classifier")
    assert (load.figures["faults"], load.figures["p50_ms"]) == (20, None)
    assert golden.summary.startswith("'praise': UNAVAILABLE: no replica")
