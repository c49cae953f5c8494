"""What the Responses API answers."""

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from mesh_gateway.openai.responses import TokenLogprob
from mesh_gateway.openai.responses_api.requests import FunctionTool, TextConfig, ToolChoice

ItemStatus: TypeAlias = Literal["in_progress", "completed", "incomplete"]


class OutputText(msgspec.Struct, frozen=True, tag_field="type", tag="output_text"):
    """The text of a message."""

    text: str
    annotations: list[None] = []
    logprobs: list[TokenLogprob] = []


class OutputMessage(msgspec.Struct, frozen=True, tag_field="type", tag="message"):
    """What the model says."""

    id: str
    status: ItemStatus
    content: list[OutputText]
    role: Literal["assistant"] = "assistant"


class ReasoningText(msgspec.Struct, frozen=True, tag_field="type", tag="reasoning_text"):
    """The text of what the model thought."""

    text: str


class OutputReasoning(msgspec.Struct, frozen=True, tag_field="type", tag="reasoning"):
    """What the model thought, where it shows that."""

    id: str
    status: ItemStatus
    content: list[ReasoningText]
    summary: list[None] = []


class OutputCall(msgspec.Struct, frozen=True, tag_field="type", tag="function_call"):
    """A call that the model makes."""

    id: str
    call_id: Annotated[str, Meta(description="By which `function_call_output` answers it.")]
    name: str
    arguments: Annotated[str, Meta(description="A JSON object, as text.")]
    status: ItemStatus


OutputItem: TypeAlias = OutputMessage | OutputReasoning | OutputCall


class InputTokensDetails(msgspec.Struct, frozen=True):
    """What the tokens of the input were."""

    cached_tokens: Annotated[
        int, Meta(description="Those whose computation was at hand from earlier requests.")
    ]
    cache_write_tokens: Annotated[
        int, Meta(description="Always 0: what is kept costs nothing.")
    ] = 0


class OutputTokensDetails(msgspec.Struct, frozen=True):
    """What the tokens of the output were."""

    reasoning_tokens: Annotated[int, Meta(description="Always 0: they are not told apart.")] = 0


class ResponseUsage(msgspec.Struct, frozen=True):
    """Tokens of a request."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class IncompleteDetails(msgspec.Struct, frozen=True):
    """Why a response is not complete."""

    reason: Literal["max_output_tokens", "content_filter"]


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """The continuation of a conversation, with what it was asked for."""

    id: str
    object: Literal["response"] = "response"
    created_at: Annotated[int, Meta(description="When it began, in seconds since 1970.")]
    status: Literal["in_progress", "completed", "incomplete"]
    error: None = None
    incomplete_details: IncompleteDetails | None = None
    model: Annotated[str, Meta(description="As the request named it; `x-mesh-model` answered.")]
    output: list[OutputItem] = []
    usage: ResponseUsage | None = None
    instructions: str | None
    max_output_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_logprobs: int | None
    text: TextConfig
    tools: list[FunctionTool]
    tool_choice: ToolChoice
    parallel_tool_calls: bool
    metadata: dict[str, str]
    store: Annotated[bool, Meta(description="Always false: nothing is stored.")] = False
    background: bool = False
    previous_response_id: None = None
    truncation: Literal["disabled"] = "disabled"
