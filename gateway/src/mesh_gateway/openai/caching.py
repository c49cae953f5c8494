"""Answers from the prompt cache where it has them, in the place of a generation."""

import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic

from mesh.common.v1 import common_pb2
from mesh.llm.v1 import llm_pb2
from mesh_gateway.metering import Metering
from mesh_gateway.openai.answers import Usage
from mesh_gateway.openai.catalog import Catalog
from mesh_gateway.openai.generating import Ask, Asker, Generating, Generation, R, Running, used
from mesh_gateway.openai.prompt_cache import Entry, PromptCache, digest
from mesh_gateway.openai.routing import Candidate
from meshkit.errors import Unavailable
from meshkit.reservations import Used

_log = logging.getLogger(__name__)
_MAX_AGE: Final = re.compile(r"max-age=(\d{1,9})")


@dataclass(frozen=True, slots=True)
class CacheControl:
    """What a caller wants of the cache (RFC 9111, section 5.2.1).

    Attributes:
        finds: whether what is kept may answer.
        keeps: whether the answer may be kept.
        most_age_s: how old it may be; None for any age.
    """

    finds: bool = True
    keeps: bool = True
    most_age_s: int | None = None

    @classmethod
    def parse(cls, header: bytes | None) -> "CacheControl":
        """Reads the header `cache-control`; what is not known in it is passed over."""
        words = {each.strip() for each in (header or b"").decode("latin-1").lower().split(",")}
        ages = [int(match[1]) for each in words if (match := _MAX_AGE.fullmatch(each))]
        return cls(
            finds=not words & {"no-cache", "no-store"},
            keeps="no-store" not in words,
            most_age_s=min(ages) if ages else None,
        )

    def takes(self, entry: Entry) -> bool:
        """Whether an answer may be given."""
        return self.most_age_s is None or entry.age_s <= self.most_age_s


class CachingGenerator:
    """Looks into the cache before anything is generated, and keeps what was.

    Only requests of temperature 0 are looked for, only whole answers are kept, and a tenant never
    gets another one's. A hit is not charged. While Redis can't be reached everything is generated.

    Args:
        cache: what is kept.
        generator: generates.
        catalog: knows which version a deployment serves: another one answers anew.
        metering: is told of hits.
    """

    def __init__(
        self, cache: PromptCache, generator: Generating, catalog: Catalog, metering: Metering
    ) -> None:
        self._cache = cache
        self._generator = generator
        self._catalog = catalog
        self._metering = metering

    @asynccontextmanager
    async def begun(
        self, ask: Ask[R], candidates: Sequence[Candidate], asker: Asker
    ) -> AsyncIterator[Generation[R]]:
        """An answer, kept or generated; as `Generating` has it."""
        served = self._catalog.of(candidates[0].client)
        tenant = asker.caller.tenant
        if not (ask.repeatable and served and tenant):
            async with self._generator.begun(ask, candidates, asker) as generation:
                yield generation
            return
        name = _name(ask, candidates[0], served.version)
        control = CacheControl.parse(asker.exchange.headers.get(b"cache-control"))
        entry = await self._find(tenant, name) if control.finds else None
        if entry and control.takes(entry):
            yield await self._kept(ask, entry, asker)
            return
        asker.told.looked_up(None)
        async with self._generator.begun(ask, candidates, asker) as generation:
            recorded = Recorded(generation)
            yield recorded
            # What another version or a fallback has answered would stand under a wrong name, and
            # so would what a limit has cut short.
            same = _is_of(generation, candidates[0]) and name == _name(
                ask, candidates[0], generation.lineage.version
            )
            if control.keeps and recorded.complete and same:
                await self._keep(tenant, name, recorded.entry)

    async def _kept(self, ask: Ask[R], entry: Entry, asker: Asker) -> "Kept[R]":
        kept = Kept(entry.model, [ask.response(each) for each in entry.responses])
        usage = kept.used
        await self._metering.cached(
            asker.caller,
            kept.model,
            Used(usage.prompt_tokens, usage.completion_tokens, usage.cached_prompt_tokens),
            asker.exchange,
        )
        asker.told.looked_up(entry.age_s)
        asker.told.answered(kept.model, kept.lineage)
        return kept

    async def _find(self, tenant: str, name: str) -> Entry | None:
        try:
            return await self._cache.find(tenant, name)
        except Unavailable as error:
            _log.debug("nothing is looked up: %s", error)
            return None

    async def _keep(self, tenant: str, name: str, entry: Entry) -> None:
        try:
            await self._cache.keep(tenant, name, entry)
        except Unavailable as error:
            _log.debug("an answer is not kept: %s", error)


class Kept(Generic[R]):
    """An answer that was kept.

    Attributes:
        model: what answered.
    """

    def __init__(self, model: str, responses: Sequence[R]) -> None:
        self.model = model
        self._responses = responses

    @property
    def lineage(self) -> common_pb2.Lineage:
        """Where the answer comes from."""
        return self._responses[0].lineage

    @property
    def used(self) -> Usage:
        """Tokens that it took when it was generated."""
        return used(self._responses[-1].usage)

    async def batches(self) -> AsyncGenerator[Sequence[R], None]:
        """The messages of the answer."""
        yield self._responses


class Recorded(Generic[R]):
    """A generation whose answer is gathered, so that it can be kept.

    Attributes:
        complete: whether it has come to its end.
    """

    def __init__(self, generation: Generation[R]) -> None:
        self.complete = False
        self._generation = generation
        self._choices: dict[int, tuple[Any, list[str]]] = {}

    @property
    def model(self) -> str:
        """What answers."""
        return self._generation.model

    @property
    def lineage(self) -> common_pb2.Lineage:
        """Where the answer comes from."""
        return self._generation.lineage

    @property
    def used(self) -> Usage:
        """Tokens so far."""
        return self._generation.used

    @property
    def entry(self) -> Entry:
        """The answer, with each choice in one message."""
        usage, messages = self.used, []
        for _, (message, texts) in sorted(self._choices.items()):
            _set_text(message.delta, "".join(texts))
            message.lineage.CopyFrom(self.lineage)
            message.usage.prompt_tokens = usage.prompt_tokens
            message.usage.completion_tokens = usage.completion_tokens
            message.usage.cached_prompt_tokens = usage.cached_prompt_tokens
            messages.append(message.SerializeToString())
        return Entry(self.model, time.time(), messages)

    async def batches(self) -> AsyncGenerator[Sequence[R], None]:
        """All messages of the answer."""
        async with aclosing(self._generation.batches()) as batches:
            async for responses in batches:
                for response in responses:
                    self._add(response)
                yield responses
        self.complete = bool(self._choices)

    def _add(self, response: Any) -> None:
        if not response.HasField("delta"):
            return
        delta = response.delta
        whole, texts = self._choices.setdefault(delta.choice, (type(response)(), []))
        texts.append(delta.text if isinstance(delta, llm_pb2.CompleteDelta) else delta.content)
        whole.delta.MergeFrom(delta)


def _set_text(delta: Any, text: str) -> None:
    if isinstance(delta, llm_pb2.CompleteDelta):
        delta.text = text
    else:
        delta.content = text


def _name(ask: Ask[R], candidate: Candidate, version: str) -> str:
    ask.request.model = candidate.model
    asked = ask.request.SerializeToString(deterministic=True)
    return digest([ask.method.encode(), candidate.client.name.encode(), version.encode(), asked])


def _is_of(generation: Generation[R], candidate: Candidate) -> bool:
    return isinstance(generation, Running) and generation.candidate == candidate
