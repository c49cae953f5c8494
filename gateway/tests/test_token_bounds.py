"""The most that a request may use, and what a gateway lets through alone."""

from decimal import Decimal

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st

from mesh.embedding.v1 import embedding_pb2
from mesh.llm.v1 import llm_pb2
from mesh_gateway.lone_accounts import LoneAccounts
from mesh_gateway.token_bounds import Bound, of_chat, of_completion, of_embedding
from meshkit.prices import Price
from meshkit.reservations import Account, Kind, Ticket, Used

FREE = Price(Decimal(0), Decimal(0), Decimal(0))
CONTEXT = 4096


def chat(*texts: str, **sampling: int) -> llm_pb2.ChatRequest:
    messages = [{"role": "ROLE_USER", "content": [{"text": text}]} for text in texts]
    return ParseDict({"messages": messages, "sampling": sampling}, llm_pb2.ChatRequest())


@given(st.lists(st.text(max_size=300), min_size=1, max_size=5), st.integers(1, 500))
def test_a_prompt_has_no_more_tokens_than_bytes(texts: list[str], most: int) -> None:
    bound = of_chat(chat(*texts, max_tokens=most, n=3), 10**9)
    assert bound.prompt >= sum(len(text.encode()) for text in texts)
    assert (bound.completion, bound.choices, bound.most_each) == (3 * most, 3, 0)
    assert bound.total == bound.prompt + bound.completion


def test_the_schema_of_an_answer_is_no_part_of_its_prompt() -> None:
    request = chat("a", max_tokens=1)
    plain = of_chat(request, CONTEXT).prompt
    request.structured_output.json_schema = "x" * 1000
    assert of_chat(request, CONTEXT).prompt <= plain + 8


def test_without_a_most_of_its_own_a_request_may_fill_the_context() -> None:
    bound = of_chat(chat("a"), CONTEXT)
    assert bound.total == CONTEXT
    assert bound.most_each == CONTEXT - bound.prompt
    # Of a model that does not say it.
    assert of_chat(chat("a")).total == 32_768
    assert of_chat(chat("a" * 10_000), CONTEXT).prompt == CONTEXT


def test_of_token_ids_the_number_is_known() -> None:
    request = llm_pb2.CompleteRequest(token_ids=llm_pb2.TokenIds(ids=range(70, 90)))
    request.sampling.max_tokens = 5
    assert of_completion(request, CONTEXT) == Bound(20, 5)
    text = llm_pb2.CompleteRequest(text="é" * 10)
    assert of_completion(text, CONTEXT).prompt == 24


def test_inputs_are_bounded_by_what_the_model_reads_of_each() -> None:
    inputs = [
        embedding_pb2.EmbedInput(text="a" * 1000),
        embedding_pb2.EmbedInput(token_ids=embedding_pb2.TokenIds(ids=[1, 2, 3])),
    ]
    request = embedding_pb2.EmbedRequest(inputs=inputs)
    assert of_embedding(request, 256) == Bound(256 + 7)
    assert of_embedding(request) == Bound(1004 + 7)


@given(st.integers(0, 3000), st.integers(1, 8), st.integers(1, 6000))
def test_a_bound_is_cut_to_what_a_limit_holds_or_not_at_all(
    prompt: int, choices: int, most: int
) -> None:
    room = CONTEXT - prompt
    bound = Bound(prompt, choices * CONTEXT - prompt, choices, room)
    cut = bound.within(most)
    if cut is None:
        assert prompt + choices > most
    elif cut is not bound:
        assert cut.total <= most
        assert 0 < cut.most_each <= room
    said = Bound(prompt, choices * 100, choices)
    assert said.within(most) is (said if said.total <= most else None)


steps = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 60), st.integers(0, 100)), max_size=40
)


@given(steps, st.integers(1, 4))
def test_alone_a_gateway_lets_its_share_through(
    steps: list[tuple[int, int, int]], replicas: int
) -> None:
    now_s = 1_700_000_000.0
    began_s = now_s
    alone = LoneAccounts(replicas, lambda: now_s)
    account = Account(Kind.TOKENS, "a", 100, 1e6)
    used = 0
    for number, (gap_s, amount, percent) in enumerate(steps):
        now_s += gap_s
        ticket = Ticket("t", str(number), ((account, amount),), FREE)
        if alone.reserve(ticket).passed:
            tokens = min(amount, 100 // replicas) * percent // 100
            used += tokens
            alone.settle(ticket, Used(completion=tokens))
        assert used <= (100 + now_s - began_s) / replicas + 1


def test_alone_a_budget_is_its_share_of_each_day() -> None:
    now_s = 1_700_000_000.0
    alone = LoneAccounts(2, lambda: now_s)
    account = Account(Kind.DAY, "a", 1000)
    price = Price(Decimal(0), Decimal(0), Decimal("0.001"))  # a token is a billionth
    first = Ticket("t", "1", ((account, 400),), price)
    assert alone.reserve(first).passed
    assert not alone.reserve(Ticket("t", "2", ((account, 200),), price)).passed
    alone.settle(first, Used(completion=300))
    assert alone.reserve(Ticket("t", "3", ((account, 200),), price)).passed
    now_s += 86_400
    assert alone.reserve(Ticket("t", "4", ((account, 300),), price)).passed


def test_alone_what_is_open_takes_room() -> None:
    now_s = 0.0
    alone = LoneAccounts(1, lambda: now_s)
    account = Account(Kind.TOKENS, "a", 100, 1e6)
    assert alone.reserve(Ticket("t", "1", ((account, 90),), FREE)).passed
    refused = alone.reserve(Ticket("t", "2", ((account, 20),), FREE))
    assert not refused.passed
    assert refused.levels[0].left == 10
    assert refused.levels[0].fits_s == pytest.approx(10)
