"""Tools that a conversation offers, and the choice of one: as mesh.llm.v1 has them."""

from collections.abc import Mapping
from typing import Final, Literal, Protocol

from msgspec import Raw, UnsetType

from mesh.llm.v1 import llm_pb2
from mesh_gateway.openai.decoding import refusal, schema_of


class Function(Protocol):
    """A function that a caller offers, in whichever form."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def description(self) -> str | None:
        """What it does."""

    @property
    def parameters(self) -> Raw | UnsetType:
        """JSON Schema of its arguments."""


MODES: Final[Mapping[Literal["auto", "none", "required"], llm_pb2.ToolChoice]] = {
    "auto": llm_pb2.ToolChoice(mode=llm_pb2.TOOL_CHOICE_MODE_AUTO),
    "none": llm_pb2.ToolChoice(mode=llm_pb2.TOOL_CHOICE_MODE_NONE),
    "required": llm_pb2.ToolChoice(mode=llm_pb2.TOOL_CHOICE_MODE_REQUIRED),
}


def named(name: str) -> llm_pb2.ToolChoice:
    """The choice of one tool."""
    return llm_pb2.ToolChoice(tool=name)


def tool(function: Function, field: str) -> llm_pb2.Tool:
    """A tool that is a function.

    Args:
        function: to be offered.
        field: its path in the body.

    Raises:
        InvalidArgument: its parameters are not UTF-8.
    """
    return llm_pb2.Tool(
        name=function.name,
        description=function.description or "",
        parameters=schema_of(function.parameters, f"{field}.parameters"),
    )


def choose(
    message: llm_pb2.ChatRequest, choice: llm_pb2.ToolChoice | None, parallel: bool | None
) -> None:
    """Sets what is chosen of the tools that a request offers.

    Args:
        message: the request, with its tools.
        choice: of a tool; None for the model's own.
        parallel: whether an answer may have several calls; None for the model's own.

    Raises:
        InvalidArgument: there are no tools to choose from.
    """
    if not message.tools:
        asked = (
            ("tool_choice", choice not in (None, MODES["none"])),
            ("parallel_tool_calls", parallel is not None),
        )
        for name, wanted in asked:
            if wanted:
                raise refusal(name, "needs tools; send some, or leave it out", "INVALID_ARGUMENT")
        return
    if parallel is not None:
        message.parallel_tool_calls = parallel
    if choice is not None:
        message.tool_choice.CopyFrom(choice)
