"""How fast a served model answers."""

import asyncio
import statistics
import time
from typing import Any, Final

import grpc

from mesh.llm.v1 import llm_pb2, llm_pb2_grpc
from mesh_llm.training.evaluation.figures import Speed

TOGETHER: Final = 8
"""Callers at once."""
_ANSWER_S: Final = 600.0
_TOKENS: Final = 64
_ROUNDS: Final = 3
_WORDS: Final = "The fox counts the fish in the river, one by one, and begins anew. "


async def measure(target: str) -> Speed:
    """Measures one caller, then several at once; the median of some rounds each."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub: Any = llm_pb2_grpc.LlmServiceStub(channel)
        await _rate(stub, 1)  # the first one warms up
        alone = [await _rate(stub, 1) for _ in range(_ROUNDS)]
        await _rate(stub, TOGETHER)
        together = [await _rate(stub, TOGETHER) for _ in range(_ROUNDS)]
        firsts = [await _first_token(stub, number) for number in range(2 * _ROUNDS)]
    return Speed(
        alone_tokens_per_s=statistics.median(alone),
        together_tokens_per_s=statistics.median(together),
        together=TOGETHER,
        first_token_ms=statistics.median(seconds for seconds, _ in firsts) * 1000,
        prompt_tokens=firsts[0][1],
    )


async def _rate(stub: Any, callers: int) -> float:
    began_s = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(callers):
            group.create_task(_answer(stub, f"{number}. Tell a story of a fox.", _TOKENS))
    return callers * _TOKENS / (time.perf_counter() - began_s)


async def _first_token(stub: Any, number: int) -> tuple[float, int]:
    began_s = time.perf_counter()
    prompt_tokens = await _answer(stub, f"{number}. " + 30 * _WORDS, 1)
    return time.perf_counter() - began_s, prompt_tokens


async def _answer(stub: Any, text: str, tokens: int) -> int:
    message = llm_pb2.Message(role=llm_pb2.ROLE_USER, content=[llm_pb2.ContentPart(text=text)])
    sampling = llm_pb2.Sampling(temperature=0, max_tokens=tokens, ignore_eos=True)
    request = llm_pb2.ChatRequest(messages=[message], sampling=sampling)
    prompt_tokens = 0
    async for response in stub.Chat(request, timeout=_ANSWER_S):
        prompt_tokens = response.usage.prompt_tokens
    return prompt_tokens
