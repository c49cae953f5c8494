"""What a caller can ask for, free of transport and engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias


class Role(StrEnum):
    """Who said a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model made earlier in the conversation.

    Attributes:
        id: what the tool's message refers to.
        name: of the tool.
        arguments: a JSON object, as text.
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Text:
    """A part of a message that is text."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A part of a message that is a picture, which a model of text can't read."""

    media_type: str


Part: TypeAlias = Text | Image


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation.

    Attributes:
        role: who said it; None where the caller named a role that there is not.
        parts: what was said.
        name: who said it, where several have the role; empty where that is not told.
        tool_calls: the calls that an assistant's message made.
        tool_call_id: which call a tool's message answers.
    """

    role: Role | None
    parts: Sequence[Part] = ()
    name: str = ""
    tool_calls: Sequence[ToolCall] = ()
    tool_call_id: str = ""

    @property
    def text(self) -> str:
        """Its parts joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that the model may call.

    Attributes:
        name: of the tool.
        description: what it does, for the model to read.
        parameters: JSON Schema of the arguments, as text; empty where it takes none.
    """

    name: str
    description: str = ""
    parameters: str = ""


class ToolMode(StrEnum):
    """Whether the model calls a tool."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class NamedTool:
    """The choice of one tool."""

    name: str


ToolChoice: TypeAlias = ToolMode | NamedTool


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """Output that is JSON and fits a schema, which is given as text."""

    schema: str


@dataclass(frozen=True, slots=True)
class JsonObject:
    """Output that is any JSON object."""


@dataclass(frozen=True, slots=True)
class Regex:
    """Output that a regular expression matches as a whole."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Output that is one of some texts."""

    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Grammar:
    """Output of a context-free grammar in GBNF."""

    text: str


Form: TypeAlias = JsonSchema | JsonObject | Regex | Choice | Grammar


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen; None is the model's own default. Units and ranges: the contract."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    stop: Sequence[str] = ()
    seed: int | None = None
    n: int = 1
    logprobs: int | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    min_tokens: int | None = None
    ignore_eos: bool = False


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation to be continued.

    Attributes:
        messages: in the order in which they were said.
        model: one of those that the engine has; empty is its base model.
        sampling: how tokens are chosen.
        tools: what the model may call.
        tool_choice: whether it calls one.
        parallel_tool_calls: whether several calls may stand in one answer.
        form: of the content of the answer; None where it is free.
        priority: lower is served first.
    """

    messages: Sequence[Message]
    model: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    tools: Sequence[Tool] = ()
    tool_choice: ToolChoice = ToolMode.AUTO
    parallel_tool_calls: bool = True
    form: Form | None = None
    priority: int = 0

    @property
    def offered(self) -> Sequence[Tool]:
        """The tools that the answer may call."""
        if self.tool_choice is ToolMode.NONE:
            return ()
        if isinstance(self.tool_choice, NamedTool):
            return [tool for tool in self.tools if tool.name == self.tool_choice.name]
        return self.tools

    @property
    def forced(self) -> bool:
        """Whether the answer is a call, whatever the model would rather say."""
        return isinstance(self.tool_choice, NamedTool) or self.tool_choice is ToolMode.REQUIRED


@dataclass(frozen=True, slots=True)
class Completion:
    """A text to be continued as it stands.

    Attributes:
        prompt: the text, or the ids of its tokens.
        model: as in Chat.
        sampling: how tokens are chosen.
        form: of the continuation; None where it is free.
        priority: lower is served first.
    """

    prompt: str | Sequence[int]
    model: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    form: Form | None = None
    priority: int = 0
