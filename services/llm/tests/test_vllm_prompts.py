"""How much a prompt leaves room for, and what vLLM is told of the sampling."""

import pytest

from mesh_llm.engines.vllm_prompts import most_tokens, sampling_params
from mesh_llm.requests import Sampling
from meshkit.errors import InvalidArgument


def test_without_a_limit_the_rest_of_the_context_is_the_limit() -> None:
    assert most_tokens(Sampling(), 100, 2048, "messages") == 1948
    assert most_tokens(Sampling(max_tokens=1948), 100, 2048, "messages") == 1948


@pytest.mark.parametrize(
    ("sampling", "prompt", "said"),
    [
        (
            Sampling(max_tokens=1949),
            100,
            "sampling.max_tokens is 1949; the prompt has 100 tokens of the 2048 of the context, so "
            "send 1948 at most",
        ),
        (Sampling(), 2048, "messages has 2048 tokens and the context has 2048; send less"),
        (Sampling(min_tokens=1949), 100, "sampling.min_tokens is 1949; there is room for 1948"),
    ],
)
def test_what_the_context_has_no_room_for_is_refused_with_the_numbers(
    sampling: Sampling, prompt: int, said: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        most_tokens(sampling, prompt, 2048, "messages")
    assert caught.value.message == said


def test_what_is_not_asked_is_the_models_own_default() -> None:
    params = sampling_params(
        Sampling(temperature=0.0, stop=("a",), logit_bias={3: 1.0}), 5, {"top_p": 0.8, "top_k": 20}
    )
    assert params == {
        "top_p": 0.8,
        "top_k": 20,
        "temperature": 0.0,
        "max_tokens": 5,
        "n": 1,
        "stop": ["a"],
        "ignore_eos": False,
        "logit_bias": {3: 1.0},
    }
