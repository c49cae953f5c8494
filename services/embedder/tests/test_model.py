"""What can be asked, what is refused, and what becomes of callers that wait."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mesh_embedder.inputs import Embedding, Input, TokenIds, TooLong, Wish
from mesh_embedder.model import MAX_TOKEN_IDS, tokens_of
from mesh_embedder.network import Network
from meshkit import deadline
from meshkit.accounts import Accounts
from meshkit.deadline import Deadline
from meshkit.errors import (
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    NotFound,
    Overloaded,
)
from meshkit.prices import Prices
from meshkit.reservations import Used
from support import (
    ABILITIES,
    CAT_IDS,
    MAX_INPUTS,
    TEXTS,
    TOLERANCE,
    Held,
    serving,
    until,
    vectors,
)

PLAIN = Wish()
WHOLE = Wish(truncate=False)


async def test_answers_in_the_order_of_the_inputs(network: Network) -> None:
    contents: list[str | TokenIds] = [*TEXTS, CAT_IDS]
    async with serving(network) as (embedder, _):
        together = vectors(await embedder.embed("", contents, PLAIN))
        for content, answer in zip(contents, together, strict=True):
            (expected,) = vectors(await embedder.embed("", [content], PLAIN))
            np.testing.assert_allclose(answer, expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(together[-1], together[0], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["", "embedder", "all-MiniLM-L6-v2"])
async def test_the_model_answers_to_its_names(network: Network, name: str) -> None:
    async with serving(network) as (embedder, _):
        (answer,) = await embedder.embed(name, ["ok"], PLAIN)
    assert isinstance(answer, Embedding)


async def test_another_name_is_not_found(network: Network) -> None:
    async with serving(network) as (embedder, _):
        with pytest.raises(NotFound, match="no model 'ada' here; ask for 'all-Mini") as caught:
            await embedder.embed("ada", ["ok"], PLAIN)
    assert caught.value.reason == "MODEL_NOT_FOUND"


@pytest.mark.parametrize(
    ("contents", "wish", "message"),
    [
        ([], PLAIN, "inputs is empty; send one input at least"),
        (
            ["a"] * (MAX_INPUTS + 1),
            PLAIN,
            "inputs has 13 inputs and may have 12; send them in several requests",
        ),
        (["a", ""], PLAIN, "inputs[1] is empty; send a text, or leave it out"),
        (["a", " \n"], PLAIN, "inputs[1] has nothing but white space; send a text, or leave it o"),
        (["a" * 65_537], PLAIN, "inputs[0] has 65537 bytes of UTF-8 and may have 65536; send a p"),
        ([()], PLAIN, "inputs[0] is empty; send a token at least, or leave it out"),
        (["a", [5, 30_522]], PLAIN, "inputs[1] has the token id 30522 and the model's are 0 to 3"),
        (
            [[5] * (MAX_TOKEN_IDS // 2), [5] * (MAX_TOKEN_IDS // 2 + 1)],
            PLAIN,
            "inputs has 300001 token ids in all and may have 300000; send them in several",
        ),
        (["a"], Wish(dimensions=256), "dimensions is 256; all-MiniLM-L6-v2 has 384"),
        (["a"], Wish(dimensions=0), "dimensions is 0; all-MiniLM-L6-v2 has 384"),
        (["a"], Wish(max_tokens=2), "max_tokens is 2; send 3 to 256, or leave it out"),
        (["a"], Wish(max_tokens=257), "max_tokens is 257; send 3 to 256, or leave it out"),
        (["a", "a " * 300], WHOLE, "inputs[1] has 302 tokens and may have 256; send a part of it"),
        ([[7] * 300], WHOLE, "inputs[0] has 302 tokens and may have 256; send a part of it"),
    ],
)
async def test_bad_input_is_told_by_field_value_and_remedy(
    network: Network, contents: list[Any], wish: Wish, message: str
) -> None:
    async with serving(network) as (embedder, _):
        with pytest.raises(InvalidArgument) as caught:
            await embedder.embed("", contents, wish)
    assert caught.value.message.startswith(message)
    assert caught.value.violations


async def test_every_input_at_fault_is_named(network: Network) -> None:
    async with serving(network) as (embedder, _):
        with pytest.raises(InvalidArgument) as caught:
            await embedder.embed("", ["", "a", " ", ()], PLAIN)
    assert [each.field for each in caught.value.violations] == [
        "inputs[0]",
        "inputs[2]",
        "inputs[3]",
    ]


async def test_a_model_with_several_widths_has_those(network: Network) -> None:
    abilities = replace(ABILITIES, allowed_dimensions=(384, 64))
    async with serving(network, abilities=abilities) as (embedder, _):
        assert vectors(await embedder.embed("", ["ok"], Wish(dimensions=64))).shape == (1, 64)
        assert vectors(await embedder.embed("", ["ok"], PLAIN)).shape == (1, 384)
        with pytest.raises(InvalidArgument, match=r"dimensions is 128; .* has 384, 64"):
            await embedder.embed("", ["ok"], Wish(dimensions=128))


async def test_an_input_that_the_model_fails_on_harms_no_other(network: Network) -> None:
    def run(bucket: int, inputs: Sequence[Input]) -> Sequence[Embedding | TooLong]:
        if any(each.content == "unbearable" for each in inputs):
            raise FloatingPointError("the graph gave infinity or no number")
        return network.embed(bucket, inputs)

    async with serving(network, run) as (embedder, _):
        good, bad = await embedder.embed("", ["ok", "unbearable"], PLAIN)
    assert isinstance(good, Embedding)
    assert isinstance(bad, Internal)
    assert (bad.reason, bad.message) == ("MODEL_FAILED", "the model failed on this input")


# Callers that wait.


async def test_a_full_queue_sheds(network: Network) -> None:
    held = Held(network)
    async with serving(network, held, max_batch_size=1) as (embedder, batcher):
        callers = [asyncio.create_task(embedder.embed("", ["good"] * 12, PLAIN))]
        await held.begun.wait()
        callers.append(asyncio.create_task(embedder.embed("", ["good"], PLAIN)))
        await until(lambda: batcher.queued == 12)
        with pytest.raises(Overloaded) as shed:
            await embedder.embed("", ["good"], PLAIN)
        assert shed.value.retry_delay_s is not None
        held.go_on.set()
        await asyncio.gather(*callers)


async def test_a_large_request_lets_others_in_between(network: Network) -> None:
    held = Held(network)
    abilities = replace(ABILITIES, max_inputs=100)
    async with serving(network, held, abilities=abilities, max_batch_size=4, max_queued=4) as (
        embedder,
        _,
    ):
        large = asyncio.create_task(embedder.embed("", ["large"] * 40, PLAIN))
        await held.begun.wait()
        small = asyncio.create_task(embedder.embed("", ["small"], PLAIN))
        held.go_on.set()
        await small
        assert not large.done()
        assert len(vectors(await large)) == 40
    # At most one more share of the large request went first.
    assert held.seen.index("small") <= 8


async def test_a_large_request_that_was_let_in_waits_while_the_queue_is_full(
    network: Network,
) -> None:
    held = Held(network)
    abilities = replace(ABILITIES, max_inputs=100)
    async with serving(
        network, held, abilities=abilities, max_batch_size=2, queue_capacity=4, max_queued=2
    ) as (embedder, batcher):
        large = asyncio.create_task(embedder.embed("", ["large"] * 6, PLAIN))
        await held.begun.wait()
        others = [asyncio.create_task(embedder.embed("", ["a", "b"], PLAIN)) for _ in range(2)]
        await until(lambda: batcher.queued == 4)
        held.go_on.set()
        assert len(vectors(await large)) == 6
        await asyncio.gather(*others)


async def test_a_passed_deadline_ends_the_wait(network: Network) -> None:
    held = Held(network)
    async with serving(network, held) as (embedder, _):
        with deadline.scope(Deadline.after(0.01)), pytest.raises(DeadlineExceeded):
            await embedder.embed("", ["good"], PLAIN)
        held.go_on.set()


async def test_a_caller_that_leaves_the_queue_costs_no_run(network: Network) -> None:
    held = Held(network)
    async with serving(network, held, max_batch_size=1) as (embedder, batcher):
        first = asyncio.create_task(embedder.embed("", ["first"], PLAIN))
        await held.begun.wait()
        leaver = asyncio.create_task(embedder.embed("", ["left"], PLAIN))
        last = asyncio.create_task(embedder.embed("", ["last"], PLAIN))
        await until(lambda: batcher.queued == 2)
        leaver.cancel()
        await asyncio.wait([leaver])
        assert batcher.queued == 1
        held.go_on.set()
        await asyncio.gather(first, last)
    assert held.seen == ["first", "last"]


# What is written down of requests.


class Noted(Accounts):
    """Accounts that also remember what each request has used."""

    def __init__(self) -> None:
        super().__init__(None, None, Prices.load(None))
        self.tokens: list[int] = []

    def end(self, begun: float, model: str, used: Used) -> None:
        super().end(begun, model, used)
        assert (model, used.completion, used.cached_prompt) == ("embedder", 0, 0)
        self.tokens.append(used.prompt)


async def test_the_tokens_of_a_request_are_written_down_once(network: Network) -> None:
    accounts = Noted()
    async with serving(network, accounts=accounts, max_queued=3) as (embedder, _):
        outcomes = await embedder.embed("", TEXTS, PLAIN)
        with pytest.raises(InvalidArgument):
            await embedder.embed("", ["a " * 300], WHOLE)
        with pytest.raises(InvalidArgument):
            await embedder.embed("", [], PLAIN)
    # One that is refused by what it says was never a request; one that is too long used nothing.
    assert accounts.tokens == [tokens_of(outcomes), 0]
    assert tokens_of(outcomes) > 300


async def test_what_a_caller_that_left_has_used_is_written_down(network: Network) -> None:
    accounts = Noted()
    held = Held(network)

    def run(bucket: int, inputs: Sequence[Input]) -> Sequence[Embedding | TooLong]:
        first = inputs[0].content == "first"
        return network.embed(bucket, inputs) if first else held(bucket, inputs)

    async with serving(network, run, accounts=accounts, max_queued=4) as (embedder, _):
        contents = ["first"] * 4 + ["second"] * 4
        leaver = asyncio.create_task(embedder.embed("", contents, PLAIN))
        await held.begun.wait()
        leaver.cancel()
        await asyncio.wait([leaver])
        held.go_on.set()
    assert accounts.tokens == [4 * 3]
