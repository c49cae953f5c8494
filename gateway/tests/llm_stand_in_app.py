"""What the stand-in for the llm serves."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from llm_script import Fact, Finish, Piece, play
from llm_stand_in import Settings
from mesh.common.v1 import common_pb2
from mesh.llm.v1 import llm_pb2, llm_pb2_grpc
from meshkit import context, deadline, names, telemetry
from meshkit.accounts import Accounts, Machine, accounting
from meshkit.errors import InvalidArgument, NotFound
from meshkit.ledger import Source
from meshkit.names import TokenType
from meshkit.run import App
from meshkit.server import GrpcServer, Service

VERSION: Final = "stand-in-1"
_tokens: Final = telemetry.counter(names.TOKENS, "{token}", "Tokens that were read and generated.")
_REASONS: Final = {
    "stop": llm_pb2.FINISH_REASON_STOP,
    "length": llm_pb2.FINISH_REASON_LENGTH,
    "tool_calls": llm_pb2.FINISH_REASON_TOOL_CALLS,
    "content_filter": llm_pb2.FINISH_REASON_CONTENT_FILTER,
}


class StandIn(llm_pb2_grpc.LlmServiceServicer):
    """Plays scripts."""

    def __init__(self, settings: Settings, accounts: Accounts) -> None:
        self._accounts = accounts
        self._names = (settings.model_name, *settings.adapters)
        self._lineage = common_pb2.Lineage(
            model=settings.model_name,
            version=VERSION,
            variant=settings.variant,
            run="none",
            deployment=settings.deployment,
        )
        self._since = Timestamp()
        self._since.GetCurrentTime()
        self._counts = {"begun": 0, "open": 0, "ended": 0, "made": 0}

    async def Chat(  # noqa: N802  # named by the contract
        self, request: llm_pb2.ChatRequest, context: object
    ) -> AsyncGenerator[llm_pb2.ChatResponse, None]:
        self._check_model(request.model)
        if not request.messages:
            raise InvalidArgument.of_field("messages", "is empty; send one message at least")
        texts = [_text(message) for message in request.messages]
        script = _script(request, texts)
        if script == "counts":
            yield self._counted()
            return
        responses = self._answer(request, script, texts, llm_pb2.ChatResponse)
        begun: set[int] = set()
        async with aclosing(responses) as steps:
            async for response in steps:
                if response.delta.choice not in begun:
                    begun.add(response.delta.choice)
                    response.delta.role = llm_pb2.ROLE_ASSISTANT
                yield response

    async def Complete(  # noqa: N802  # named by the contract
        self, request: llm_pb2.CompleteRequest, context: object
    ) -> AsyncGenerator[llm_pb2.CompleteResponse, None]:
        self._check_model(request.model)
        ids = " ".join(str(each) for each in request.token_ids.ids)
        text = request.text or f"say {ids}"
        responses = self._answer(request, text, [request.text or ids], llm_pb2.CompleteResponse)
        async with aclosing(responses) as steps:
            async for response in steps:
                yield response

    async def Tokenize(  # noqa: N802  # named by the contract
        self, request: llm_pb2.TokenizeRequest, context: object
    ) -> llm_pb2.TokenizeResponse:
        words = request.text.split()
        return llm_pb2.TokenizeResponse(lineage=self._lineage, token_ids=range(len(words)))

    async def GetModel(  # noqa: N802  # named by the contract
        self, request: llm_pb2.GetModelRequest, context: object
    ) -> llm_pb2.GetModelResponse:
        base, *adapters = self._names
        return llm_pb2.GetModelResponse(
            lineage=self._lineage,
            models=[
                llm_pb2.ServedModel(name=base),
                *(llm_pb2.ServedModel(name=each, base=base) for each in adapters),
            ],
            engine="stand-in",
            max_context_tokens=32_768,
            max_choices=8,
            serving_since=self._since,
        )

    def _counted(self) -> llm_pb2.ChatResponse:
        """What has been done; asking for it counts for nothing."""
        delta = llm_pb2.ChatDelta(
            role=llm_pb2.ROLE_ASSISTANT,
            content=json.dumps(self._counts),
            finish_reason=llm_pb2.FINISH_REASON_STOP,
        )
        return llm_pb2.ChatResponse(lineage=self._lineage, delta=delta, usage=llm_pb2.Usage())

    def _check_model(self, model: str) -> None:
        if model and model not in self._names:
            raise NotFound(
                f"model is {model[:100]!r} and there are: {', '.join(self._names)}; name one of "
                "them, or none for the first",
                reason="MODEL_NOT_FOUND",
            )

    async def _answer(
        self, request: Any, text: str, said: Sequence[str], kind: type[Any]
    ) -> AsyncGenerator[Any, None]:
        self._counts["begun"] += 1
        self._counts["open"] += 1
        try:
            with self._accounts.request(request.model or self._names[0]) as account:
                async with aclosing(self._steps(request, text, said, kind)) as steps:
                    async for response in steps:
                        self._counts["made"] += 1
                        usage = response.usage
                        account.used(usage.prompt_tokens, usage.completion_tokens)
                        yield response
        finally:
            self._counts["open"] -= 1
            self._counts["ended"] += 1

    async def _steps(
        self, request: Any, text: str, said: Sequence[str], kind: type[Any]
    ) -> AsyncGenerator[Any, None]:
        usage = llm_pb2.Usage(prompt_tokens=sum(len(each.split()) for each in said))
        count = partial(_count, request.model or self._names[0])
        choices = request.sampling.n or 1
        lineage: common_pb2.Lineage | None = self._lineage
        reason = ""
        async with aclosing(_limited(play(text, self._facts(request)), request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Finish):
                    reason = piece.reason
                    continue
                reason = reason or ("tool_calls" if piece.call is not None else "")
                if not usage.completion_tokens:
                    count(TokenType.INPUT, usage.prompt_tokens)
                usage.completion_tokens += choices
                count(TokenType.OUTPUT, choices)
                for response in _deltas(piece, choices, request.sampling, kind):
                    response.usage.CopyFrom(usage)
                    if lineage is not None:
                        response.lineage.CopyFrom(lineage)
                        lineage = None
                    yield response
        if not usage.completion_tokens:
            count(TokenType.INPUT, usage.prompt_tokens)
        for choice in range(choices):
            last = kind(usage=usage, lineage=lineage)
            last.delta.choice = choice
            last.delta.finish_reason = _REASONS[reason or "stop"]
            yield last

    def _facts(self, request: Any) -> dict[str, Fact]:
        def who() -> str:
            asker = context.current()
            return f"{asker.key_id} {asker.tenant} {asker.request_id}" if asker else "nobody"

        def time() -> str:
            limit = deadline.current()
            return str(limit.remaining_s) if limit else "none"

        return {
            "who": who,
            "time": time,
            "request": lambda: json_format.MessageToJson(request, preserving_proto_field_name=True),
        }


def _count(model: str, kind: TokenType, tokens: int) -> None:
    """Counts tokens as they are made, as an engine does."""
    labels = {
        names.GEN_AI_OPERATION: "chat",
        names.GEN_AI_MODEL: model,
        names.GEN_AI_TOKEN_TYPE: kind.value,
    }
    _tokens.add(tokens, labels)


async def _limited(
    pieces: AsyncGenerator[Piece | Finish, None], request: Any
) -> AsyncGenerator[Piece | Finish, None]:
    """Ends an answer at the most tokens that were asked for."""
    most = request.sampling.max_tokens
    made = 0
    async with aclosing(pieces):
        async for piece in pieces:
            if most and made == most and isinstance(piece, Piece):
                yield Finish("length")
                return
            made += isinstance(piece, Piece)
            yield piece


def _deltas(
    piece: Piece, choices: int, sampling: llm_pb2.Sampling, kind: type[Any]
) -> Iterable[Any]:
    for choice in range(choices):
        response = kind()
        delta = response.delta
        delta.choice = choice
        if kind is llm_pb2.CompleteResponse:
            delta.text = piece.content
        else:
            delta.content, delta.reasoning = piece.content, piece.reasoning
            if piece.call is not None:
                delta.tool_calls.add(
                    index=piece.call,
                    id=f"call_{piece.call}" if piece.tool else "",
                    name=piece.tool,
                    arguments=piece.arguments,
                )
        if sampling.HasField("logprobs") and piece.content:
            delta.logprobs.append(_logprobs(piece.content, sampling.logprobs))
        yield response


def _logprobs(text: str, top: int) -> llm_pb2.TokenLogprobs:
    token = llm_pb2.TokenLogprob(text=text, raw=text.encode(), logprob=-0.25, id=7)
    others = [
        llm_pb2.TokenLogprob(text=f"other{each}", raw=b"other%d" % each, logprob=-1.5 - each)
        for each in range(1, top)
    ]
    return llm_pb2.TokenLogprobs(token=token, top=[token, *others][:top])


def _text(message: llm_pb2.Message) -> str:
    return "".join(part.text for part in message.content)


def _script(request: llm_pb2.ChatRequest, texts: Sequence[str]) -> str:
    """What is to be played: a call that is forced, the result of a tool, or the user's words."""
    if request.messages[-1].role == llm_pb2.ROLE_TOOL:
        return f"say the tool said {texts[-1]}"
    users = [
        text
        for message, text in zip(request.messages, texts, strict=True)
        if message.role == llm_pb2.ROLE_USER
    ]
    script = users[-1] if users else texts[-1]
    choice = request.tool_choice
    forced = choice.tool or choice.mode == llm_pb2.TOOL_CHOICE_MODE_REQUIRED
    if forced and not script.startswith(("call ", "request", "fail ", "refuse ")):
        return f"call {choice.tool or request.tools[0].name} {{}}"
    return script


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[App]:
    machine = Machine(cpus=1)
    async with accounting(settings, "llm", Source.LOCAL, machine) as accounted:
        stand_in = StandIn(settings, accounted.accounts)
        service = Service(llm_pb2_grpc.add_LlmServiceServicer_to_server, stand_in)
        yield App(
            servers=[GrpcServer(settings, [service])], tasks=[task() for task in accounted.tasks]
        )
