"""Asks a model for texts and says when their tokens came: JSON in, JSON out.

A program of its own, so that what it costs is seen. Over HTTP it reads the socket itself: a client
library would cost as much again as the server, from the same cores.

    {"kind": "grpc", "port": 50062, "tokens": 64, "callers": [["a prompt", "the next"], ["..."]]}

Each caller sends its prompts one after the other, all callers at once. Kinds: `grpc` is the
service, `openai` a server of OpenAI's protocol, `whole` one that answers when all is generated.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import grpc

from mesh.llm.v1 import llm_pb2, llm_pb2_grpc

_ANSWER_S: Final = 1200.0
_OK: Final = b" 200 "
_PATHS: Final = {"openai": "/v1/chat/completions", "whole": "/generate"}


async def main() -> None:
    """Carries a plan out."""
    plan = json.load(sys.stdin)
    began_s = time.perf_counter()
    if plan["kind"] == "grpc":
        async with grpc.aio.insecure_channel(f"127.0.0.1:{plan['port']}") as channel:
            await channel.channel_ready()
            stub: Any = llm_pb2_grpc.LlmServiceStub(channel)
            answers = await _all(plan["callers"], lambda text: _grpc(stub, text, plan["tokens"]))
    else:
        answers = await _all(plan["callers"], lambda text: over_http(plan, text))
    seconds = time.perf_counter() - began_s
    json.dump({"seconds": seconds, "answers": answers}, sys.stdout)


async def _all(
    callers: Sequence[Sequence[str]], ask: Callable[[str], Awaitable[dict[str, float]]]
) -> list[dict[str, float]]:
    async def one(prompts: Sequence[str]) -> list[dict[str, float]]:
        return [await ask(prompt) for prompt in prompts]

    async with asyncio.timeout(_ANSWER_S), asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(prompts)) for prompts in callers]
    return [answer for task in tasks for answer in task.result()]


async def _grpc(stub: Any, prompt: str, tokens: int) -> dict[str, float]:
    message = llm_pb2.Message(role=llm_pb2.ROLE_USER, content=[llm_pb2.ContentPart(text=prompt)])
    sampling = llm_pb2.Sampling(temperature=0, max_tokens=tokens, ignore_eos=True)
    request = llm_pb2.ChatRequest(messages=[message], sampling=sampling)
    began_s, first_s, usage = time.perf_counter(), 0.0, llm_pb2.Usage()
    async for response in stub.Chat(request, timeout=_ANSWER_S):
        if not first_s and response.delta.content:
            first_s = time.perf_counter() - began_s
        usage = response.usage
    return _answer(began_s, first_s, usage.completion_tokens, usage.prompt_tokens)


async def over_http(plan: Mapping[str, Any], prompt: str) -> dict[str, float]:
    """Asks over HTTP.

    Args:
        plan: kind, port, tokens, and a key where one is wanted.
        prompt: what is said.

    Raises:
        RuntimeError: it is not answered.
    """
    body = {
        "messages": [{"role": "user", "content": prompt}],
        "model": "llm",
        "max_tokens": plan["tokens"],
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    content = json.dumps(body).encode()
    key = plan.get("key")
    shown = f"authorization: Bearer {key}\r\n" if key else ""
    head = (
        f"POST {_PATHS[plan['kind']]} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{shown}"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", plan["port"])
    began_s, first_s, last = time.perf_counter(), 0.0, b""
    try:
        writer.write(head.encode() + content)
        if _OK not in await reader.readline():
            raise RuntimeError((await reader.read()).decode())
        async for line in reader:
            # The first piece of a stream has a role and no content.
            if not first_s and b'"content":"' in line and b'"content":""' not in line:
                first_s = time.perf_counter() - began_s
            if b'"usage":{' in line:
                last = line
    finally:
        writer.close()
        await writer.wait_closed()
    usage = json.loads(last.removeprefix(b"data: "))["usage"]
    return _answer(began_s, first_s, usage["completion_tokens"], usage["prompt_tokens"])


def _answer(began_s: float, first_s: float, tokens: int, prompt_tokens: int) -> dict[str, float]:
    return {
        "first_s": first_s,
        "whole_s": time.perf_counter() - began_s,
        "tokens": tokens,
        "prompt_tokens": prompt_tokens,
    }


if __name__ == "__main__":
    asyncio.run(main())
