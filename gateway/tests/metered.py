"""What tests of metering look at: the accounts of keys, the ledger, the counters of the llm."""

import asyncio
import re
from collections.abc import Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any

import httpx
from redis import Redis

from llm_mesh import LlmMesh, LlmService, chat
from meshkit import names
from meshkit.allowance import Allowance
from meshkit.keys import ApiKey
from meshkit.ledger import Ledger, Row, Source, Usage
from processes import PATIENCE_S, until

PATH = "/v1/chat/completions"


def cost(prompt: int, completion: int) -> int:
    """What tokens cost by these prices, in billionths."""
    return (prompt * 100 + completion * 1000) * 1000


def key_with(mesh: LlmMesh, *token_rates: str, budget: str = "", tenant: str = "shop") -> ApiKey:
    """A new key with limits."""
    allowance = Allowance.parse(token_rates, [budget] if budget else [])
    scopes = frozenset({"llm", "embedder"})
    return mesh.make_key(scopes=scopes, allowance=allowance, tenant=tenant)


def ask(client: httpx.Client, script: str, **more: Any) -> httpx.Response:
    """One chat completion."""
    return client.post(PATH, json=chat(script, **{"max_tokens": 10, **more}))


def state(mesh: LlmMesh, key: str) -> dict[str, str]:
    """An account in Redis."""
    with Redis.from_url(mesh.redis.url, decode_responses=True) as client:
        return dict(client.hgetall(key))


def reserved(mesh: LlmMesh, key: ApiKey, model: str = "") -> int:
    """What is reserved of a key's tokens."""
    name = f"{names.REDIS_TOKENS}:{{shop}}:key:{key.id}:{model}"
    return int(state(mesh, name).get("open", 0))


def spent(mesh: LlmMesh, key: ApiKey) -> tuple[int, int]:
    """What is reserved of a key's monthly budget, and what was spent, in billionths."""
    account = state(mesh, f"{names.REDIS_BUDGET}:{{shop}}:key:{key.id}:month")
    return int(account.get("open", 0)), int(account.get("spent", 0))


def until_settled(mesh: LlmMesh, key: ApiKey) -> None:
    """Waits until nothing is reserved of a key's tokens."""
    until(lambda: reserved(mesh, key) == 0, "the settlement")


def ledger(mesh: LlmMesh) -> dict[Row, Usage]:
    """The ledger of today and yesterday, since a test may run at midnight."""

    async def read() -> dict[Row, Usage]:
        today = datetime.now(UTC).date()
        async with Ledger(mesh.redis.url, timeout_s=PATIENCE_S) as opened:
            return await opened.read(today - timedelta(days=1), today)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, read()).result()


def used(mesh: LlmMesh, key: ApiKey) -> Usage:
    """All that the ledger has of a key."""
    rows = ledger(mesh).items()
    return sum((usage for row, usage in rows if row.key_id == key.id), Usage())


def answered(mesh: LlmMesh, models: Set[str]) -> Usage:
    """All that the ledger has of what models have answered themselves, for whomever."""
    found = [
        usage
        for row, usage in ledger(mesh).items()
        if row.model in models and row.source is Source.LOCAL
    ]
    return sum(found, Usage())


def counted(llm: LlmService) -> tuple[int, int]:
    """Tokens that the llm has counted as it made them: of prompts, and of answers."""
    found = {"input": 0, "output": 0}
    for line in _metrics(llm):
        if line.startswith("mesh_tokens_total{"):
            kind = re.search(r'gen_ai_token_type="(\w+)"', line)
            assert kind
            found[kind[1]] += int(float(line.rpartition(" ")[2]))
    return found["input"], found["output"]


def _metrics(llm: LlmService) -> Iterator[str]:
    connection = HTTPConnection("127.0.0.1", llm.admin_port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/metrics")
        yield from connection.getresponse().read().decode().splitlines()
    finally:
        connection.close()
