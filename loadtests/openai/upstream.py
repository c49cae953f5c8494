"""A constant upstream of OpenAI's API, as cheap as Python can: `python3 upstream.py PORT WORDS`.

Every request is answered at once with the same bytes: a whole answer, or a stream of so many words
where the body asks for one.
"""

import asyncio
import json
import sys
from typing import Any

_HEAD = {"id": "chatcmpl-1", "created": 1700000000, "model": "constant"}


def whole(words: int) -> bytes:
    """A whole answer."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": " ".join(f"word{n}" for n in range(words))},
        "finish_reason": "stop",
    }
    usage = {"prompt_tokens": 9, "completion_tokens": words, "total_tokens": 9 + words}
    answer = {**_HEAD, "object": "chat.completion", "choices": [choice], "usage": usage}
    content = json.dumps(answer).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}"
    return head.encode() + b"\r\n\r\n" + content


def streamed(words: int) -> bytes:
    """A stream."""
    deltas = [{"role": "assistant", "content": ""}]
    deltas += [{"content": f"word{n} "} for n in range(words)]
    choices: list[dict[str, Any]] = [
        {"index": 0, "delta": each, "finish_reason": None} for each in deltas
    ]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    parts = [
        b"data: "
        + json.dumps({**_HEAD, "object": "chat.completion.chunk", "choices": [each]}).encode()
        + b"\n\n"
        for each in choices
    ]
    parts.append(b"data: [DONE]\n\n")
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked"
    return head + b"\r\n\r\n" + chunks + b"0\r\n\r\n"


async def main(port: int, words: int) -> None:
    """Serves until it is ended."""
    answer, stream = whole(words), streamed(words)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
                asked = await reader.readexactly(int(length or b"0"))
                wants_stream = b'"stream":true' in asked.replace(b" ", b"").lower()
                writer.write(stream if wants_stream else answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
