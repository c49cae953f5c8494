"""What several test files use."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx

from mesh_llm.engines.remote import RemoteEngine, Upstream
from mesh_llm.model import About, ServedModel
from mesh_llm.requests import Chat, Message, Role, Sampling, Text

PATIENCE_S = 30.0
ABOUT = About(
    engine="remote",
    models=[ServedModel("llm", tool_format="upstream")],
    context_tokens=4096,
    precision="",
    since=datetime(2026, 1, 2, tzinfo=UTC),
)


def user(text: str) -> Message:
    return Message(Role.USER, [Text(text)])


def ask(text: str = "Say hello.", sampling: Sampling | None = None) -> Chat:
    return Chat([user(text)], sampling=sampling or Sampling())


@asynccontextmanager
async def remote(
    url: str, *, first_byte_timeout_s: float = PATIENCE_S, idle_timeout_s: float = PATIENCE_S
) -> AsyncIterator[RemoteEngine]:
    upstream = Upstream(url, "a-key", "their-model", first_byte_timeout_s, idle_timeout_s)
    async with httpx.AsyncClient(timeout=httpx.Timeout(PATIENCE_S, read=None)) as client:
        yield RemoteEngine(upstream, ABOUT, client)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # several things may bring it about
            await asyncio.sleep(0.005)
