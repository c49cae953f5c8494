"""What the classifier can be asked: good and bad input, a model that fails, callers that leave."""

import asyncio
from collections.abc import Sequence

import pytest

from mesh_classifier.answers import Classification
from mesh_classifier.network import Network
from meshkit import deadline
from meshkit.deadline import Deadline
from meshkit.errors import DeadlineExceeded, Internal, InvalidArgument, MeshError, Overloaded
from meshkit.texts import MAX_TEXT_BYTES
from support import MAX_TEXTS, TEXTS, UNBEARABLE, Held, serving, until


def answered(outcome: Classification | MeshError) -> Classification:
    assert isinstance(outcome, Classification), outcome
    return outcome


async def test_classifies_each_text_in_its_place(fp32: Network) -> None:
    async with serving(fp32) as (classifier, _):
        outcomes = await classifier.classify(TEXTS, allow_degraded=False)
    expected = [fp32.classify(16, [text])[0] for text in TEXTS]
    assert [answered(outcome).label for outcome in outcomes] == [one.label for one in expected]
    for outcome, one in zip(outcomes, expected, strict=True):
        assert answered(outcome).probabilities == pytest.approx(one.probabilities, abs=1e-5)
        assert answered(outcome).truncated == one.truncated


async def test_int8_answers_do_not_depend_on_other_callers(int8: Network) -> None:
    alone = [int8.classify(16, [text])[0] for text in TEXTS]
    async with serving(int8, max_batch_size=1, queue_capacity=120, workers=3) as (classifier, _):
        callers = [classifier.classify(TEXTS, allow_degraded=False) for _ in range(12)]
        together = await asyncio.gather(*callers)
    assert together == [alone] * 12


# Bad input.


@pytest.mark.parametrize(
    ("texts", "field", "message"),
    [
        ([], "texts", "texts is empty; send one text at least"),
        (
            ["good"] * (MAX_TEXTS + 1),
            "texts",
            "texts has 13 texts and may have 12; send them in several requests",
        ),
        (["good", ""], "texts[1]", "texts[1] is empty; send a text, or leave it out"),
        (
            [" \t\n\u3000", "good"],
            "texts[0]",
            "texts[0] has nothing but white space; send a text, or leave it out",
        ),
        (
            ["good"] * 3 + ["\u00e9" * 32_769],
            "texts[3]",
            "texts[3] has 65538 bytes of UTF-8 and may have 65536; send a part of it",
        ),
    ],
)
async def test_bad_input_names_the_field_the_value_and_the_remedy(
    fp32: Network, texts: list[str], field: str, message: str
) -> None:
    async with serving(fp32, run=never) as (classifier, _):
        with pytest.raises(InvalidArgument) as refused:
            await classifier.classify(texts, allow_degraded=True)
    assert refused.value.message == message
    assert [violation.field for violation in refused.value.violations] == [field]


def never(bucket: int, texts: Sequence[str]) -> list[Classification]:
    raise AssertionError("bad input reached the model")


async def test_every_text_at_fault_is_listed(fp32: Network) -> None:
    async with serving(fp32, run=never) as (classifier, _):
        with pytest.raises(InvalidArgument) as refused:
            await classifier.classify(["", "good", " ", "", ""], allow_degraded=True)
    fields = [violation.field for violation in refused.value.violations]
    assert fields == ["texts[0]", "texts[2]", "texts[3]", "texts[4]"]
    assert refused.value.message.endswith("; and 1 more")


async def test_the_longest_text_allowed_is_read(fp32: Network) -> None:
    async with serving(fp32) as (classifier, _):
        (outcome,) = await classifier.classify(["a " * (MAX_TEXT_BYTES // 2)], allow_degraded=False)
    assert answered(outcome).truncated


# A model that fails.


async def test_a_text_that_the_model_fails_on_spares_its_neighbours(broken: Network) -> None:
    texts = ["A delight.", f"A {UNBEARABLE} delight.", "A bore."]
    async with serving(broken) as (classifier, _):
        first, failed, last = await classifier.classify(texts, allow_degraded=False)
    assert isinstance(failed, Internal)
    assert failed.reason == "MODEL_FAILED"
    assert not failed.retryable
    assert "allow_degraded lets a lexicon rule answer instead" in failed.message
    expected = broken.classify(16, ["A delight."])[0]
    assert answered(first).probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    assert answered(last).degraded is None


async def test_the_lexicon_answers_for_a_model_that_fails(broken: Network) -> None:
    texts = ["A delight.", f"A {UNBEARABLE} delight."]
    async with serving(broken) as (classifier, _):
        by_model, by_rule = await classifier.classify(texts, allow_degraded=True)
    assert answered(by_model).degraded is None
    assert answered(by_rule).label == "positive"
    assert answered(by_rule).degraded == (
        "the model failed on this text; the VADER lexicon rule answered"
    )


async def test_the_lexicon_never_answers_for_an_overload(fp32: Network) -> None:
    held = Held(fp32)
    async with serving(fp32, run=held, max_batch_size=1, queue_capacity=12) as (
        classifier,
        batcher,
    ):
        callers = [asyncio.create_task(classifier.classify(["good"] * 12, allow_degraded=True))]
        await held.begun.wait()
        callers.append(asyncio.create_task(classifier.classify(["good"], allow_degraded=True)))
        await until(lambda: batcher.queued == 12)
        with pytest.raises(Overloaded) as shed:
            await classifier.classify(["good"], allow_degraded=True)
        assert shed.value.retry_delay_s is not None
        held.go_on.set()
        await asyncio.gather(*callers)


async def test_the_lexicon_never_answers_for_a_passed_deadline(fp32: Network) -> None:
    held = Held(fp32)
    async with serving(fp32, run=held) as (classifier, _):
        with deadline.scope(Deadline.after(0.01)), pytest.raises(DeadlineExceeded):
            await classifier.classify(["good"], allow_degraded=True)
        held.go_on.set()


# A caller that leaves.


async def test_a_caller_that_leaves_the_queue_costs_no_inference(fp32: Network) -> None:
    held = Held(fp32)
    async with serving(fp32, run=held, max_batch_size=1) as (classifier, batcher):
        first = asyncio.create_task(classifier.classify(["first"], allow_degraded=False))
        await held.begun.wait()
        leaver = asyncio.create_task(classifier.classify(["left"], allow_degraded=False))
        last = asyncio.create_task(classifier.classify(["last"], allow_degraded=False))
        await until(lambda: batcher.queued == 2)
        leaver.cancel()
        await asyncio.wait([leaver])
        assert batcher.queued == 1
        held.go_on.set()
        await asyncio.gather(first, last)
    assert held.seen == ["first", "last"]
