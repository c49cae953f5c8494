"""An upstream that speaks OpenAI's protocol, as an engine."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import httpx

from mesh_llm.answers import Progress
from mesh_llm.engines import openai_errors, sse
from mesh_llm.engines.openai_bodies import chat_body, completion_body
from mesh_llm.engines.openai_chunks import DONE, ChunkReader, ErrorFrame, Garbage
from mesh_llm.model import About
from mesh_llm.requests import Chat, Completion, Message, Tool
from meshkit import deadline
from meshkit.breaker import Breaker, Result
from meshkit.errors import MeshError, Overloaded, Unavailable, Unimplemented
from meshkit.retries import RetryBudget

_MOST_ATTEMPTS: Final = 3
# An upstream that wants a longer wait is not waited for: the caller decides.
_MOST_WAIT_S: Final = 2.0
_BREAKER_RETRY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the upstream is, and how long to wait for it.

    Attributes:
        url: up to and with its version, such as `https://api.openai.com/v1`.
        key: sent as a bearer token; empty for none.
        model: what it calls the model.
        first_byte_timeout_s: most seconds until its answer begins.
        idle_timeout_s: most seconds between two pieces of its answer.
    """

    url: str
    key: str
    model: str
    first_byte_timeout_s: float
    idle_timeout_s: float


class RemoteEngine:
    """Has an upstream generate.

    A request is repeated, within a budget, only while nothing of its answer has come. A breaker
    keeps requests from an upstream that fails, so that callers need not wait to be told.

    Args:
        upstream: where it is.
        about: what this service says of it.
        client: to call it with; closed by who made it.
        thinks: whether its answers have thoughts between tags in their content.
    """

    def __init__(
        self,
        upstream: Upstream,
        about: About,
        client: httpx.AsyncClient,
        *,
        thinks: bool = False,
    ) -> None:
        self._upstream = upstream
        self._about = about
        self._client = client
        self._thinks = thinks
        self._breaker = Breaker()
        self._budget = RetryBudget()

    @property
    def about(self) -> About:
        """What it is and has."""
        return self._about

    @property
    def ready(self) -> bool:
        """Whether it answers now, as far as is known."""
        return self._breaker.passes

    def chat(self, chat: Chat) -> AsyncGenerator[Progress, None]:
        """Continues a conversation; raises as `Engine.chat`."""
        body = chat_body(chat, self._upstream.model)
        reader = ChunkReader(chat.sampling.n, thinks=self._thinks)
        return self._stream("/chat/completions", body, reader)

    def complete(self, completion: Completion) -> AsyncGenerator[Progress, None]:
        """Continues a text; raises as `Engine.complete`."""
        body = completion_body(completion, self._upstream.model)
        return self._stream("/completions", body, ChunkReader(completion.sampling.n))

    async def tokenize(self, text: str) -> Sequence[int]:
        """Refused: the protocol has no such call."""
        _refuse_tokenizing()

    async def tokenize_chat(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[int]:
        """Refused: the protocol has no such call."""
        _refuse_tokenizing()

    async def _stream(
        self, path: str, body: dict[str, Any], reader: ChunkReader
    ) -> AsyncGenerator[Progress, None]:
        async with (
            self._opened(path, body) as response,
            aclosing(self._steps(response, reader)) as steps,
        ):
            async for step in steps:
                yield step

    @asynccontextmanager
    async def _opened(self, path: str, body: dict[str, Any]) -> AsyncIterator[httpx.Response]:
        """The upstream's answer, once it has begun well; the breaker learns how it ends."""
        response = await self._begun(path, body)
        result = Result.NOTHING
        try:
            yield response
            result = Result.GOOD
        except Unavailable:
            result = Result.FAILED
            raise
        finally:
            self._breaker.end(result, _no_others)
            await response.aclose()

    async def _begun(self, path: str, body: dict[str, Any]) -> httpx.Response:
        self._budget.deposit()
        for attempt in range(1, _MOST_ATTEMPTS + 1):
            if not self._breaker.passes:
                raise Unavailable(
                    "the upstream fails, and is left alone for a while; try again in a moment",
                    reason="UPSTREAM_UNAVAILABLE",
                    retry_delay_s=_BREAKER_RETRY_S,
                )
            try:
                return await self._attempt(path, body)
            except (Unavailable, Overloaded) as error:
                if attempt == _MOST_ATTEMPTS or not self._may_repeat(error):
                    raise
                await asyncio.sleep(error.retry_delay_s or 0)
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Sends the request once; of a good answer the breaker learns when it ends."""
        self._breaker.begin()
        try:
            return await self._send(path, body)
        except BaseException as error:
            self._breaker.end(_result_of(error), _no_others)
            raise

    async def _send(self, path: str, body: dict[str, Any]) -> httpx.Response:
        upstream = self._upstream
        headers = {"authorization": f"Bearer {upstream.key}"} if upstream.key else {}
        url = f"{upstream.url.rstrip('/')}{path}"
        request = self._client.build_request("POST", url, json=body, headers=headers)
        try:
            async with asyncio.timeout(upstream.first_byte_timeout_s):
                response = await self._client.send(request, stream=True)
                if response.status_code == httpx.codes.OK:
                    return response
                raise await _refusal(response)
        except TimeoutError:
            raise Unavailable(
                f"the upstream did not begin to answer in {upstream.first_byte_timeout_s:g} s",
                reason="UPSTREAM_SLOW",
            ) from None
        except httpx.HTTPError as error:
            raise Unavailable(
                f"the upstream can't be reached ({type(error).__name__})",
                reason="UPSTREAM_UNAVAILABLE",
            ) from error

    def _may_repeat(self, error: MeshError) -> bool:
        """Whether there is time and budget for another attempt."""
        until = deadline.current()
        delay_s = error.retry_delay_s or 0
        if delay_s > _MOST_WAIT_S or (until is not None and until.remaining_s <= delay_s):
            return False
        return self._budget.spend()

    async def _steps(
        self, response: httpx.Response, reader: ChunkReader
    ) -> AsyncGenerator[Progress, None]:
        try:
            async with aclosing(_patiently(response, self._upstream.idle_timeout_s)) as chunks:
                async for event in sse.events(chunks):
                    if event.startswith(DONE):
                        break
                    for step in reader.read(event):
                        yield step
        except (Garbage, sse.NoEventStream) as error:
            raise Unavailable(
                f"the upstream answers with what is no answer: {error}", reason="UPSTREAM_GARBAGE"
            ) from error
        except ErrorFrame as frame:
            raise openai_errors.of_frame(frame.error) from frame
        except httpx.HTTPError as error:
            raise _cut_off(type(error).__name__) from error
        if not reader.complete:
            raise _cut_off("it ended before its last choice did")


async def _patiently(response: httpx.Response, idle_s: float) -> AsyncGenerator[bytes, None]:
    """The bytes of an answer, as long as they keep coming."""
    chunks = response.aiter_raw()
    while True:
        try:
            async with asyncio.timeout(idle_s):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise Unavailable(
                f"the upstream sent nothing for {idle_s:g} s within its answer",
                reason="UPSTREAM_SLOW",
            ) from None
        if chunk is None:
            return
        yield chunk


async def _refusal(response: httpx.Response) -> MeshError:
    """The error of a response that is no stream."""
    body = b""
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > openai_errors.MAX_ERROR_BYTES:
                break
    finally:
        await response.aclose()
    return openai_errors.of_response(response.status_code, response.headers, body)


def _cut_off(why: str) -> MeshError:
    return Unavailable(
        f"the upstream's answer was cut off ({why}); what came before is a part of it",
        reason="UPSTREAM_CUT_OFF",
    )


def _result_of(error: BaseException) -> Result:
    """What an attempt without an answer says of the upstream."""
    if isinstance(error, Unavailable):
        return Result.FAILED
    # A refusal is an answer; a caller that left says nothing.
    return Result.GOOD if isinstance(error, MeshError) else Result.NOTHING


def _no_others() -> float:
    """There is one upstream, so its faults are its own."""
    return 0.0


def _refuse_tokenizing() -> NoReturn:
    raise Unimplemented("this upstream does not say its tokens; ask a service with its own model")
