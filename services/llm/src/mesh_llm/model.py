"""What the service can be asked, whatever the transport and the engine."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol
from weakref import WeakSet

from mesh_llm import checks
from mesh_llm.answers import Progress
from mesh_llm.checks import Limits
from mesh_llm.measures import Measured, Operation
from mesh_llm.requests import Chat, Completion, Message, Tool
from meshkit import context, names, telemetry
from meshkit.accounts import Accounts
from meshkit.fairness import InFlight

_models: "WeakSet[LanguageModel]" = WeakSet()
telemetry.observed(
    names.ENGINE_UP,
    "1",
    "Whether the engine answers.",
    lambda: [(int(model.ready), {}) for model in tuple(_models)],
)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What a request may name.

    Attributes:
        name: of the model.
        base: the base model of an adapter; empty for the base itself.
        tool_format: how calls are found in free text; empty where they can't be.
    """

    name: str
    base: str = ""
    tool_format: str = ""


@dataclass(frozen=True, slots=True)
class About:
    """What an engine says of itself.

    Attributes:
        engine: what runs the model: `vllm` or `remote`.
        models: what a request may name, the base model first.
        context_tokens: most tokens of prompt and answer together; 0 where that is not known.
        precision: numeric type of the weights; empty where that is not known.
        since: since when it answers.
        reasoning_format: how thoughts are told from answers; empty where they are not.
    """

    engine: str
    models: Sequence[ServedModel]
    context_tokens: int
    precision: str
    since: datetime
    reasoning_format: str = ""


class Engine(Protocol):
    """What generates. Requests are checked before they come here.

    The generators free everything that a request holds when they end, however they end: closed,
    cancelled, or by an error.
    """

    @property
    def about(self) -> About:
        """What it is and has."""

    @property
    def ready(self) -> bool:
        """Whether it answers now."""

    def chat(self, chat: Chat) -> AsyncGenerator[Progress, None]:
        """Continues a conversation.

        Raises:
            MeshError: the request can't be answered, or its answer has broken off.
        """

    def complete(self, completion: Completion) -> AsyncGenerator[Progress, None]:
        """Continues a text; as `chat`."""

    async def tokenize(self, text: str) -> Sequence[int]:
        """The ids of the tokens of a text.

        Raises:
            Unimplemented: the engine has no tokenizer.
        """

    async def tokenize_chat(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[int]:
        """The ids of the tokens of a conversation in the model's template; as `tokenize`."""


class LanguageModel:
    """Checks requests, lets them in fairly, has the engine answer them, and measures that.

    Args:
        engine: what generates.
        most_in_flight: choices of requests that run or wait; further ones are refused.
        max_choices: most choices of a request.
        max_prompt_bytes: most bytes of UTF-8 in a request.
        accounts: what each request uses is written down there.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        most_in_flight: int,
        max_choices: int,
        max_prompt_bytes: int,
        accounts: Accounts,
    ) -> None:
        self._engine = engine
        self._accounts = accounts
        self._in_flight = InFlight(most_in_flight)
        self._max_choices = max_choices
        self._max_prompt_bytes = max_prompt_bytes
        _models.add(self)

    @property
    def ready(self) -> bool:
        """Whether its engine answers now."""
        return self._engine.ready

    @property
    def in_flight(self) -> int:
        """Choices that run or wait."""
        return self._in_flight.total

    @property
    def about(self) -> About:
        """What serves."""
        return self._engine.about

    @property
    def limits(self) -> Limits:
        """What a request may ask for."""
        return Limits(
            models=[model.name for model in self._engine.about.models],
            max_choices=self._max_choices,
            max_prompt_bytes=self._max_prompt_bytes,
        )

    def check_model(self, model: str) -> None:
        """Refuses a name that no model here has.

        Raises:
            NotFound: says which there are.
        """
        checks.check_model(model, self.limits)

    async def chat(self, chat: Chat) -> AsyncGenerator[Progress, None]:
        """Continues a conversation.

        Raises:
            InvalidArgument: names the field at fault; nothing was generated.
            NotFound: there is no such model.
            Overloaded: too many requests wait, or the caller has its part of them.
            Unavailable: the engine is being started, or has died under this request.
        """
        limits = self.limits
        check = _Check(
            lambda: checks.check_chat(chat, limits), costly=bool(chat.tools or chat.form)
        )
        begin = partial(self._engine.chat, chat)
        async with aclosing(self._answer(Operation.CHAT, chat, check, begin)) as steps:
            async for step in steps:
                yield step

    async def complete(self, completion: Completion) -> AsyncGenerator[Progress, None]:
        """Continues a text; raises as `chat` does."""
        limits = self.limits
        check = _Check(
            lambda: checks.check_completion(completion, limits), costly=bool(completion.form)
        )
        begin = partial(self._engine.complete, completion)
        async with aclosing(self._answer(Operation.COMPLETE, completion, check, begin)) as steps:
            async for step in steps:
                yield step

    async def tokenize(self, text: str) -> Sequence[int]:
        """The ids of the tokens of a text.

        Raises:
            InvalidArgument: it is too long.
            Unimplemented: the engine has no tokenizer.
        """
        checks.check_bytes(len(text.encode()), "text", self._max_prompt_bytes)
        return await self._engine.tokenize(text)

    async def tokenize_chat(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[int]:
        """The ids of the tokens of a conversation; raises as `tokenize` does."""
        field = "conversation.messages"
        checks.check_messages(messages, field)
        check = _Check(lambda: checks.check_tools(tools, "conversation.tools"), costly=bool(tools))
        await check.run()
        checks.check_size(messages, tools, field, self._max_prompt_bytes)
        return await self._engine.tokenize_chat(messages, tools)

    async def _answer(
        self,
        operation: Operation,
        request: Chat | Completion,
        check: "_Check",
        begin: Callable[[], AsyncGenerator[Progress, None]],
    ) -> AsyncGenerator[Progress, None]:
        self.check_model(request.model)
        checks.check_choices(request.sampling, self._max_choices)
        model = request.model or self.about.models[0].name
        key = caller()
        with ExitStack() as places, Measured(operation, model, time.perf_counter) as measured:
            for _ in range(request.sampling.n):  # each choice is a sequence of its own
                places.enter_context(self._in_flight.enter())
                places.enter_context(self._in_flight.hold(key))
            # Where there is no room, nothing else is worth a look: a refusal is to be quick.
            await check.run()
            account = places.enter_context(self._accounts.request(model))
            async with aclosing(begin()) as steps:
                async for step in steps:
                    measured.saw(step)
                    usage = step.usage
                    account.used(
                        usage.prompt_tokens, usage.completion_tokens, usage.cached_prompt_tokens
                    )
                    yield step


def caller() -> str:
    """Whose part of the places the request at hand takes: its key's."""
    request = context.current()
    return request.key_id if request else ""


@dataclass(frozen=True, slots=True)
class _Check:
    """Looks for what is wrong with a request, beside the loop where that may take long."""

    look: Callable[[], Any]
    costly: bool

    async def run(self) -> None:
        if self.costly:
            await asyncio.to_thread(self.look)
        else:
            self.look()
