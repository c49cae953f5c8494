"""A mesh with a scripted llm behind it, and another one that the routing file knows."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from llm_stand_in_calls import said
from processes import Mesh, StandInService, until

ROUTING = """
[deployments.large]
target = "{large}"

[deployments.nowhere]
target = "{nowhere}"

[embeddings]
text-embedding-3-small = "embed-small"

[models.gpt-4o-mini]
to = ["nowhere/any", "llm/llm"]

[models.careful]
to = ["llm/llm", "large/large"]

[models.halves]
split = {{ "llm/llm" = 1, "large/large" = 1 }}

[models.auto]
rules = [
    {{ tools = true, to = "gpt-4o-mini" }},
    {{ prompt_characters_over = 1000, to = "large/large" }},
]
otherwise = "llm/llm-terse"
"""

# What the llm tells of "é", with two of the likeliest tokens beside it, in the form of a chat.
TOKEN_OF_E = {
    "token": "é",
    "logprob": -0.25,
    "bytes": [195, 169],
    "top_logprobs": [
        {"token": "é", "logprob": -0.25, "bytes": [195, 169]},
        {"token": "other1", "logprob": -2.5, "bytes": list(b"other1")},
    ],
}
PRICES = """
currency = "USD"
[default]
input_per_million = 100
cached_input_per_million = 50
output_per_million = 1000
[compute]
cpu_second = 0.01
gpu_second = 1
"""


class LlmService(StandInService):
    """The stand-in for the llm."""

    name = "llm"
    module = "llm_stand_in"

    def __init__(self, folder: Path, **settings: str) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder)
        own = {f"MESH_LLM_{name}": value for name, value in settings.items()}
        assert isinstance(self._environment, dict)
        self._environment |= own

    def write_ledger(self, redis_url: str, prices_path: object) -> None:
        """Has it write what it answers into a ledger; with prices of its own where there are."""
        assert isinstance(self._environment, dict)
        self._environment["MESH_REDIS_URL"] = redis_url
        if prices_path:
            self._environment["MESH_PRICES_PATH"] = str(prices_path)

    @property
    def admin_port(self) -> int:
        """Where its metrics are."""
        assert isinstance(self._environment, dict)
        return int(self._environment["MESH_LLM_ADMIN_PORT"])

    @property
    def address(self) -> str:
        """Where it serves."""
        return f"127.0.0.1:{self.port}"

    def counts(self) -> dict[str, int]:
        """How many generations were begun, are open, have ended, and how many deltas were made."""
        with self.channel() as channel:
            counts: dict[str, int] = json.loads(said(channel, "counts"))
        return counts


class EmbedderService(StandInService):
    """The stand-in for the embedder."""

    name = "embedder"
    module = "embedder_stand_in"


class LlmMesh(Mesh):
    """A mesh with the llm; its key may call that, and embed."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.llm = LlmService(folder)
        super().__init__(folder, MESH_GATEWAY_LLM_TARGET=self.llm.address, **settings)
        self.llm.write_ledger(self.redis.url, settings.get("MESH_PRICES_PATH"))

    @property
    def _services(self) -> Mapping[str, StandInService]:
        """What is started beside the mesh, by the names that the gateway has for it."""
        return {"llm": self.llm}

    def __enter__(self) -> Self:
        try:
            for service in self._services.values():
                service.launch()
            super().__enter__()
            for name in self._services:
                until(lambda name=name: self.gateway.backend(name) == "ready", name)  # type: ignore[misc]  # mypy sees no default in a lambda
        except BaseException:
            self.__exit__()
            raise
        self.key = self.make_key(scopes=frozenset({"llm", "embedder"}))
        return self

    def __exit__(self, *_: object) -> None:
        for service in self._services.values():
            service.kill()
        super().__exit__()

    def at_rest(self) -> bool:
        """Whether nothing is in flight in the gateway, nor in the llm."""
        return self.llm.counts()["open"] == 0 and self.gateway.at_rest()


class RoutedMesh(LlmMesh):
    """A mesh with aliases, a second deployment of the llm, a prompt cache and an embedder."""

    def __init__(self, folder: Path) -> None:
        self.large = LlmService(folder / "large", MODEL_NAME="large", ADAPTERS="[]")
        path = folder / "routing.toml"
        # Nobody listens on a port that was free a moment ago.
        path.write_text(ROUTING.format(large=self.large.address, nowhere="127.0.0.1:9"))
        self.embedder = EmbedderService(folder)
        prices = folder / "prices.toml"
        prices.write_text(PRICES)
        super().__init__(
            folder,
            MESH_PRICES_PATH=prices,
            MESH_GATEWAY_LLM_ROUTING_PATH=path,
            MESH_GATEWAY_EMBEDDER_TARGET=f"127.0.0.1:{self.embedder.port}",
        )
        self.gateway.environment["MESH_GATEWAY_PROMPT_CACHE_REDIS_URL"] = self.redis.url
        self.gateway.environment["MESH_GATEWAY_PROMPT_CACHE_ENTRIES"] = "8"

    @property
    def _services(self) -> Mapping[str, StandInService]:
        return {**super()._services, "llm/large": self.large, "embedder": self.embedder}


def chat(script: str, **more: Any) -> dict[str, Any]:
    """The body of a chat completion whose script is played."""
    return {"model": "llm", "messages": [{"role": "user", "content": script}], **more}


def asking(script: str, **more: Any) -> dict[str, Any]:
    """The body of a request for a response, whose script is played."""
    return {"model": "llm", "input": script, **more}


def chunks(text: str) -> list[Any]:
    """The chunks of a stream that ends in good order."""
    *events, rest = text.split("\n\n")
    assert rest == ""
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    assert events.pop() == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events]


def error_of(answer: Any, status: int) -> Mapping[str, Any]:
    """The error object of an answer."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert set(answer.json()) == {"error"}
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def refused(answer: Any, param: str | None, code: str | None) -> None:
    """Says that it is the caller's mistake, and where."""
    error = error_of(answer, 400)
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
