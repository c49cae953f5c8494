"""vLLM in this process, as an engine: its answers, its death and its return."""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from mesh_llm.answers import Progress
from mesh_llm.engines import constraints, turns, vllm_errors, vllm_launch, vllm_models
from mesh_llm.engines.turns import Turns
from mesh_llm.engines.vllm_launch import Plan
from mesh_llm.engines.vllm_outputs import OutputReader
from mesh_llm.engines.vllm_prompts import Prompts, engine_params, most_tokens
from mesh_llm.model import About, ServedModel, caller
from mesh_llm.requests import Chat, Completion, Message, Role, Sampling, Text, Tool
from meshkit import names, telemetry
from meshkit.errors import InvalidArgument, MeshError, StartError
from meshkit.names import RestartReason

_log = logging.getLogger(__name__)
_POLL_S: Final = 0.25
_BACKOFF_S: Final = (1.0, 60.0)
_PROBE_S: Final = 300.0
# What begins with so much that is no call is none; a model may think before it.
_PROBE_CHARACTERS: Final = 160
_PROBE_TOKENS: Final = {True: 512, False: 48}
_PROBE: Final = Chat(
    messages=[Message(Role.USER, [Text("What is the weather in Paris? Use the tool.")])],
    tools=[
        Tool(
            "get_weather",
            "The weather of a city.",
            '{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}',
        )
    ],
)
_restarts = telemetry.counter(
    names.ENGINE_RESTARTS, "{restart}", "How often the engine was started anew."
)


class VllmEngine:
    """Has vLLM generate, in processes that this one starts, watches and ends.

    Use it as a context manager, and run `supervise` for as long as it serves.

    Args:
        plan: what to start.
        tool_format: how the model writes calls: `auto`, `hermes` or `none`.
        reasoning_format: how it tells its thoughts from its answer: `auto`, `think` or `none`.
        stall_s: seconds without a sign of life from an engine with work until it is started anew.
    """

    def __init__(
        self, plan: Plan, *, tool_format: str, reasoning_format: str, stall_s: float
    ) -> None:
        self._plan = plan
        self._tool_format = tool_format
        self._reasoning_format = reasoning_format
        self._stall_s = stall_s
        self._engine: Any = None
        self._prompts: Prompts | None = None
        self._about: About | None = None
        self._defaults: dict[str, Any] = {}
        self._adapters: dict[str, Any] = {}
        self._opens_thoughts = False
        # Whether the engine has answered a question.
        self._proven = False
        self._active = 0
        self._turns = Turns()
        self._sign_at_s = 0.0

    async def __aenter__(self) -> "VllmEngine":
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    @property
    def about(self) -> About:
        """What it is and has."""
        if self._about is None:
            raise RuntimeError("the engine is not entered")
        return self._about

    @property
    def ready(self) -> bool:
        """Whether it answers now."""
        return self._proven and not self._engine.errored

    @property
    def active(self) -> int:
        """Requests that are with the engine."""
        return self._active

    @property
    def pids(self) -> list[int]:
        """The engine's own processes."""
        return vllm_launch.core_pids(self._engine) if self._engine is not None else []

    async def chat(self, chat: Chat) -> AsyncGenerator[Progress, None]:
        """Continues a conversation; raises as `Engine.chat`."""
        engine, prompts = self._at_hand()
        tools = chat.offered
        # All of them, also where none may be called: the same beginning is computed once.
        tokens = await prompts.of_chat(chat.messages, chat.tools)
        constraint = constraints.of_chat(chat)
        params = self._params(chat.sampling, tokens, "messages", constraint, keep_tags=bool(tools))
        reader = OutputReader(
            [tool.name for tool in tools],
            prompts.token_of,
            chat.sampling.logprobs or 0,
            constrained=constraint is not None,
            thinks=bool(self.about.reasoning_format),
            # An answer of a form, or a forced call, begins without a thought.
            thought_opened=self._opens_thoughts and chat.form is None and not chat.forced,
        )
        async with aclosing(self._steps(engine, tokens, params, chat, reader)) as steps:
            async for step in steps:
                yield step

    async def complete(self, completion: Completion) -> AsyncGenerator[Progress, None]:
        """Continues a text; raises as `Engine.complete`."""
        engine, prompts = self._at_hand()
        prompt = completion.prompt
        if isinstance(prompt, str):
            field, tokens = "text", await prompts.of_text(prompt)
        else:
            field, tokens = "token_ids", list(prompt)
            _check_vocabulary(tokens, engine.model_config.get_vocab_size())
        constraint = constraints.of_form(completion.form)
        params = self._params(completion.sampling, tokens, field, constraint)
        reader = OutputReader(
            (),
            prompts.token_of,
            completion.sampling.logprobs or 0,
            constrained=constraint is not None,
        )
        async with aclosing(self._steps(engine, tokens, params, completion, reader)) as steps:
            async for step in steps:
                yield step

    async def tokenize(self, text: str) -> Sequence[int]:
        """The ids of the tokens of a text."""
        return await self._at_hand()[1].of_text(text)

    async def tokenize_chat(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[int]:
        """The ids of the tokens of a conversation; raises as `Engine.tokenize_chat`."""
        return await self._at_hand()[1].of_chat(messages, tools)

    async def supervise(self) -> None:
        """Starts the engine anew whenever it dies or hangs, until cancelled."""
        while True:
            await asyncio.sleep(_POLL_S)
            reason = None
            if self._engine is not None and self._engine.errored:
                reason = RestartReason.DIED
            elif self._active and time.monotonic() - self._sign_at_s > self._stall_s:
                reason = RestartReason.HUNG
            if reason is not None:
                _log.error("the engine %s; starting it anew", reason)
                _restarts.add(1, {names.RESTART_REASON: reason.value})
                if reason is RestartReason.HUNG:
                    await asyncio.to_thread(vllm_launch.kill, self._engine)
                await self._restart()

    async def _restart(self) -> None:
        await self._end()
        delay_s = _BACKOFF_S[0]
        while True:
            try:
                await self._start()
            except StartError as error:
                _log.error("the engine did not start: %s; trying again in %g s", error, delay_s)
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, _BACKOFF_S[1])
            else:
                return

    async def _start(self) -> None:
        began_s = time.monotonic()
        loop = asyncio.get_running_loop()
        launching = loop.run_in_executor(None, vllm_launch.launch, self._plan, self._sign)
        try:
            engine = await asyncio.shield(launching)
        except asyncio.CancelledError:
            # Its thread waits for those processes; without them it ends.
            await asyncio.to_thread(vllm_launch.kill_unborn)
            outcomes = await asyncio.gather(launching, return_exceptions=True)
            if not isinstance(outcomes[0], BaseException):
                await asyncio.to_thread(vllm_launch.end, outcomes[0])
            raise
        try:
            await self._take(engine)
        except BaseException:
            await self._end()
            raise
        _log.info("the engine is up", extra={"seconds": round(time.monotonic() - began_s, 1)})

    async def _take(self, engine: Any) -> None:
        """Makes a started engine the one that answers, once it has answered."""
        self._engine = engine
        self._prompts = Prompts(engine.get_tokenizer())
        self._defaults = dict(engine.model_config.get_diff_sampling_param())
        self._defaults.pop("max_tokens", None)
        self._adapters = await vllm_models.load_adapters(engine, self._plan.adapters)
        template = self._prompts.template
        tools = _chosen(self._tool_format, "hermes", vllm_launch.asks_for_tags(template))
        thoughts = _chosen(self._reasoning_format, "think", vllm_launch.shows_thoughts(template))
        self._opens_thoughts = bool(thoughts) and await self._prompts.opens_thoughts()
        base = ServedModel(self._plan.name, tool_format=tools)
        adapters = [replace(base, name=name, base=base.name) for name in self._adapters]
        self._about = About(
            engine="vllm",
            models=[base, *adapters],
            context_tokens=engine.model_config.max_model_len,
            precision=vllm_launch.precision_of(engine),
            reasoning_format=thoughts,
            since=datetime.now(UTC),
        )
        models = [await self._probed(model) for model in self._about.models]
        self._about = replace(self._about, models=models)
        self._proven = True

    async def _probed(self, model: ServedModel) -> ServedModel:
        """A model as it is seen to be: whether it calls a tool that a question wants; warms it."""
        called, said = False, ""
        thinks = bool(self.about.reasoning_format)
        sampling = Sampling(max_tokens=_PROBE_TOKENS[thinks], temperature=0.0)
        probe = replace(_PROBE, model=model.name, sampling=sampling)
        try:
            async with asyncio.timeout(_PROBE_S), aclosing(self.chat(probe)) as steps:
                async for step in steps:
                    if step.delta is not None:
                        called = bool(step.delta.tool_calls)
                        said += step.delta.content
                    if called or len(said) > _PROBE_CHARACTERS:
                        break
        except (TimeoutError, MeshError) as error:
            why = str(error) or f"not within {_PROBE_S:g} s"
            raise StartError(
                f"the engine did not answer its first question ({why}); its own log is above"
            ) from error
        if called or not model.tool_format or self._tool_format != "auto":
            return model
        _log.warning(
            "asked for a tool's help, the model %s made no call in its family's format: with "
            "tool_choice auto it may never do so; required and a named tool always work",
            model.name,
        )
        return replace(model, tool_format="")

    async def _end(self) -> None:
        engine, self._engine = self._engine, None
        self._proven = False
        if self._prompts is not None:
            self._prompts.close()
            self._prompts = None
        if engine is not None:
            vllm_launch.fail_requests(engine)
            await asyncio.to_thread(vllm_launch.end, engine)

    def _sign(self) -> None:
        self._sign_at_s = time.monotonic()

    def _at_hand(self) -> tuple[Any, Prompts]:
        if self._engine is None or self._prompts is None:
            raise vllm_errors.loading()
        return self._engine, self._prompts

    def _params(
        self,
        sampling: Sampling,
        tokens: Sequence[int],
        field: str,
        constraint: dict[str, Any] | None,
        *,
        keep_tags: bool = False,
    ) -> Any:
        most = most_tokens(sampling, len(tokens), self.about.context_tokens, field)
        return engine_params(sampling, most, self._defaults, constraint, keep_tags=keep_tags)

    async def _steps(
        self,
        engine: Any,
        tokens: list[int],
        params: Any,
        request: Chat | Completion,
        reader: OutputReader,
    ) -> AsyncGenerator[Progress, None]:
        """The steps of an answer; its request waits for its caller's turn."""
        who, choices = caller(), request.sampling.n
        turn = self._turns.take(who, choices)
        adapter = self._adapters.get(request.model)
        began = False
        place = turns.place(request.priority, turn)
        try:
            generating = self._generate(engine, tokens, params, adapter, place)
            async with aclosing(generating) as outputs:
                async for output in outputs:
                    if not began:
                        self._turns.began(turn)
                        began = True
                    for step in reader.read(output):
                        yield step
        finally:
            if not began:
                self._turns.gave_up(who, choices)
            if not self._active:
                self._turns.rest()

    async def _generate(
        self, engine: Any, tokens: list[int], params: Any, adapter: Any, priority: int
    ) -> AsyncGenerator[Any, None]:
        """The outputs of vLLM. However this ends, the engine is rid of the request afterwards."""
        request_id = uuid.uuid4().hex
        if not self._active:
            self._sign()  # an idle engine gives none, and owes one from now on
        self._active += 1
        done = False
        try:
            prompt = _prompt(tokens, constrained=params.structured_outputs is not None)
            stream = engine.generate(
                prompt, params, request_id, lora_request=adapter, priority=priority
            )
            async with aclosing(stream) as outputs:
                async for output in outputs:
                    done = output.finished
                    yield output
        except Exception as error:
            if (ours := vllm_errors.translated(error)) is not None:
                raise ours from error
            raise
        finally:
            self._active -= 1
            if not done and self._engine is engine and not engine.errored:
                # vLLM does so itself, but for a caller that leaves while it takes the request in.
                await asyncio.shield(engine.abort(request_id))


def _prompt(tokens: list[int], *, constrained: bool) -> Any:
    """A prompt that vLLM takes in at once, or in a thread where it checks a grammar with it."""
    from vllm.inputs.engine import tokens_input  # noqa: PLC0415  # as in `vllm_launch`

    return {"prompt_token_ids": tokens} if constrained else tokens_input(tokens)


def _check_vocabulary(tokens: Sequence[int], size: int) -> None:
    if (highest := max(tokens)) >= size:
        raise InvalidArgument.of_field(
            "token_ids", f"has {highest} and the vocabulary has {size} tokens; send ids below that"
        )


def _chosen(setting: str, format_name: str, seen: bool) -> str:
    """The format that a setting chooses, by what the model's template is seen to ask for."""
    return format_name if setting == format_name or (setting == "auto" and seen) else ""
