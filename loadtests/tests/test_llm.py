"""What asks a model reads of an answer what the server has said."""

import asyncio
import json
from typing import Any

import pytest
from llm import asking

_PIECES = (
    {"choices": [{"delta": {"role": "assistant", "content": ""}}]},
    {"choices": [{"delta": {"content": "Once"}}]},
    {"choices": [{"delta": {"content": " more"}, "finish_reason": "length"}]},
    {"choices": [], "usage": {"prompt_tokens": 31, "completion_tokens": 2}},
)


async def answer(kind: str, status: str, body: str) -> tuple[dict[str, float], dict[str, Any]]:
    """Has a server answer a request so; what was read of it, and the request."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].split()[0])
        asked.append(await reader.readexactly(size))
        writer.write(f"HTTP/1.1 {status}\r\nconnection: close\r\n\r\n{body}".encode())
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        plan = {"kind": kind, "port": port, "tokens": 2}
        found = await asking.over_http(plan, "A prompt")
    return found, json.loads(asked[0])


def test_of_a_stream_the_first_token_and_the_counts_are_read() -> None:
    body = "".join(f"data: {json.dumps(each, separators=(',', ':'))}\n\n" for each in _PIECES)
    found, request = asyncio.run(answer("openai", "200 OK", body + "data: [DONE]\n\n"))
    assert (found["tokens"], found["prompt_tokens"]) == (2, 31)
    assert 0 < found["first_s"] <= found["whole_s"]
    assert (request["max_tokens"], request["stream"], request["temperature"]) == (2, True, 0)
    assert request["messages"] == [{"role": "user", "content": "A prompt"}]


def test_an_answer_that_comes_whole_has_its_counts() -> None:
    usage = {"prompt_tokens": 31, "completion_tokens": 2}
    body = json.dumps({"content": "Once more", "usage": usage}, separators=(",", ":"))
    found, _ = asyncio.run(answer("whole", "200 OK", body))
    assert (found["tokens"], found["prompt_tokens"]) == (2, 31)


def test_a_refusal_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="no room"):
        asyncio.run(answer("openai", "400 Bad Request", '{"error": "no room"}'))
