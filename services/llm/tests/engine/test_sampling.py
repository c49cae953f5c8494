"""Each parameter of the sampling does what it says, through vLLM."""

from typing import Any

import pytest

from engine_service import CALL_S, gather
from mesh.llm.v1 import llm_pb2
from serving import request

pytestmark = pytest.mark.full
QUESTION = "Tell me about the sea."
REPEAT = "Repeat after me: fox fox fox fox fox fox fox fox."
TOKENS = 24


async def said(stub: Any, text: str = QUESTION, **sampling: Any) -> str:
    asked = request(text, sampling=llm_pb2.Sampling(**{"max_tokens": TOKENS, **sampling}))
    return (await gather(stub.Chat(asked, timeout=CALL_S))).only.content


@pytest.fixture
async def likeliest(stub: Any) -> str:
    return await said(stub, temperature=0)


@pytest.mark.parametrize("narrow", [{"min_p": 1.0}, {"top_k": 1}, {"top_p": 1e-6}])
async def test_the_narrowest_choice_is_the_likeliest(
    stub: Any, likeliest: str, narrow: dict[str, Any]
) -> None:
    assert await said(stub, temperature=1.8, seed=3, **narrow) == likeliest
    assert await said(stub, temperature=1.8, seed=3) != likeliest


@pytest.mark.parametrize(
    "penalty", [{"presence_penalty": 2}, {"frequency_penalty": 2}, {"repetition_penalty": 2}]
)
async def test_a_penalty_is_against_what_was_said(stub: Any, penalty: dict[str, Any]) -> None:
    repeated = await said(stub, REPEAT, temperature=0)
    assert repeated.lower().count("fox") > 4
    varied = await said(stub, REPEAT, temperature=0, **penalty)
    assert varied.lower().count("fox") < repeated.lower().count("fox")


async def test_a_bias_forbids_a_token(stub: Any) -> None:
    told = await stub.Tokenize(llm_pb2.TokenizeRequest(text="Bonjour"), timeout=CALL_S)
    french = "Say hello in French, in one word."
    assert "Bonjour" in await said(stub, french, temperature=0)
    bias = {told.token_ids[0]: -100.0}
    assert not (await said(stub, french, temperature=0, logit_bias=bias)).startswith("Bonjour")


async def test_an_answer_goes_on_as_long_as_it_must(stub: Any) -> None:
    short = request("Say yes.", sampling=llm_pb2.Sampling(temperature=0, max_tokens=40))
    answer = await gather(stub.Chat(short, timeout=CALL_S))
    assert (answer.only.reason, answer.usage.completion_tokens < 30) == ("stop", True)
    for more in ({"min_tokens": 30}, {"ignore_eos": True}):
        sampling = llm_pb2.Sampling(temperature=0, max_tokens=40, **more)
        longer = await gather(stub.Chat(request("Say yes.", sampling=sampling), timeout=CALL_S))
        assert longer.usage.completion_tokens >= 30
