"""Asks a served model all cases, several at a time, and counts what is right."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import grpc

from mesh.llm.v1 import llm_pb2, llm_pb2_grpc
from mesh_llm.training.evaluation import judge
from mesh_llm.training.evaluation.cases import SchemaCase, ToolCase
from mesh_llm.training.evaluation.figures import Calls, Forms
from mesh_llm.training.evaluation.judge import Call

_ANSWER_S: Final = 600.0
_MAX_TOKENS: Final = 160
_NONE: Final = llm_pb2.ToolChoice(mode=llm_pb2.TOOL_CHOICE_MODE_NONE)
_REQUIRED: Final = llm_pb2.ToolChoice(mode=llm_pb2.TOOL_CHOICE_MODE_REQUIRED)
_IN_WORDS: Final = "Answer with JSON alone, no other words, that fits this JSON Schema:\n{schema}"
_FROM_TEXT: Final = "Put what this text says into JSON: {text}"
T = TypeVar("T")
R = TypeVar("R")


async def calls(target: str, cases: Sequence[ToolCase], at_a_time: int) -> Calls:
    """Asks for calls, constrained and not.

    Args:
        target: where the model is served.
        cases: what to ask.
        at_a_time: requests that are under way.
    """
    async with grpc.aio.insecure_channel(target) as channel:
        stub: Any = llm_pb2_grpc.LlmServiceStub(channel)
        constrained = await _each(cases, lambda case: _constrained_call(stub, case), at_a_time)
        texts = await _each(cases, lambda case: _free_text(stub, case), at_a_time)
    offered = [[tool.name for tool in case.offered] for case in cases]
    in_format = list(map(judge.call_in_format, texts, offered))
    anywhere = list(map(judge.call_anywhere, texts))
    return Calls(
        cases=len(cases),
        constrained_parse=_parse(constrained),
        constrained_right=_right(constrained, cases),
        in_format_parse=_parse(in_format),
        in_format_right=_right(in_format, cases),
        anywhere_parse=_parse(anywhere),
        anywhere_right=_right(anywhere, cases),
    )


async def forms(target: str, cases: Sequence[SchemaCase], at_a_time: int) -> Forms:
    """Asks for answers of a schema, constrained and in words; as `calls`."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub: Any = llm_pb2_grpc.LlmServiceStub(channel)
        constrained = await _each(
            cases, lambda case: _formed(stub, case, constrained=True), at_a_time
        )
        in_words = await _each(
            cases, lambda case: _formed(stub, case, constrained=False), at_a_time
        )
    both = list(zip(in_words, cases, strict=True))
    return Forms(
        cases=len(cases),
        constrained=sum(
            judge.fits(text, case.schema) for text, case in zip(constrained, cases, strict=True)
        ),
        in_words=sum(judge.fits(text, case.schema) for text, case in both),
        in_words_fenced=sum(judge.fits(text, case.schema, in_fence=True) for text, case in both),
    )


async def _each(cases: Sequence[T], ask: Callable[[T], Awaitable[R]], at_a_time: int) -> list[R]:
    places = asyncio.Semaphore(at_a_time)

    async def one(case: T) -> R:
        async with places:
            return await ask(case)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(case)) for case in cases]
    return [task.result() for task in tasks]


async def _constrained_call(stub: Any, case: ToolCase) -> Call | None:
    name = arguments = ""
    async for message in stub.Chat(_question(case, _REQUIRED), timeout=_ANSWER_S):
        for delta in message.delta.tool_calls:
            if not delta.index:
                name += delta.name
                arguments += delta.arguments
    try:
        return Call(name, json.loads(arguments))
    except ValueError:
        return None  # cut short by max_tokens


async def _free_text(stub: Any, case: ToolCase) -> str:
    return await _text(stub, _question(case, _NONE))


async def _formed(stub: Any, case: SchemaCase, *, constrained: bool) -> str:
    # Both are told of the schema in the same words: what is held to it differs, and nothing else.
    schema = json.dumps(case.schema)
    request = llm_pb2.ChatRequest(
        messages=[
            _says(llm_pb2.ROLE_SYSTEM, _IN_WORDS.format(schema=schema)),
            _says(llm_pb2.ROLE_USER, _FROM_TEXT.format(text=case.text)),
        ],
        sampling=llm_pb2.Sampling(temperature=0, max_tokens=_MAX_TOKENS),
    )
    if constrained:
        request.structured_output.json_schema = schema
    return await _text(stub, request)


async def _text(stub: Any, request: llm_pb2.ChatRequest) -> str:
    pieces = [message.delta.content async for message in stub.Chat(request, timeout=_ANSWER_S)]
    return "".join(pieces)


def _question(case: ToolCase, choice: llm_pb2.ToolChoice) -> llm_pb2.ChatRequest:
    return llm_pb2.ChatRequest(
        messages=[_says(llm_pb2.ROLE_USER, case.question)],
        tools=[
            llm_pb2.Tool(
                name=tool.name,
                description=tool.description,
                parameters=json.dumps(tool.parameters),
            )
            for tool in case.offered
        ],
        tool_choice=choice,
        parallel_tool_calls=False,
        sampling=llm_pb2.Sampling(temperature=0, max_tokens=_MAX_TOKENS),
    )


def _says(role: llm_pb2.Role.ValueType, text: str) -> llm_pb2.Message:
    return llm_pb2.Message(role=role, content=[llm_pb2.ContentPart(text=text)])


def _parse(found: Sequence[Call | None]) -> int:
    return sum(call is not None for call in found)


def _right(found: Sequence[Call | None], cases: Sequence[ToolCase]) -> int:
    return sum(
        call is not None and judge.is_right(call, case)
        for call, case in zip(found, cases, strict=True)
    )
