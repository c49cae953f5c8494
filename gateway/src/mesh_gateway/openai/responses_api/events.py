"""The events of a response that is told as it grows."""

from typing import Final

import msgspec

from mesh_gateway.openai.responses import ErrorFacts, TokenLogprob
from mesh_gateway.openai.responses_api.responses import (
    OutputItem,
    OutputText,
    ReasoningText,
    Response,
)


class Event(msgspec.Struct, kw_only=True, tag_field="type"):
    """What all events have.

    Attributes:
        sequence_number: its place among the events of the response, from 0; set when it is sent.
    """

    sequence_number: int = 0

    @property
    def kind(self) -> str:
        """Its type."""
        return str(self.__struct_config__.tag)


class _OfResponse(Event, kw_only=True):
    response: Response


class ResponseCreated(_OfResponse, kw_only=True, tag="response.created"):
    """The response has begun."""


class ResponseInProgress(_OfResponse, kw_only=True, tag="response.in_progress"):
    """The response is being generated."""


class ResponseCompleted(_OfResponse, kw_only=True, tag="response.completed"):
    """The response is whole."""


class ResponseIncomplete(_OfResponse, kw_only=True, tag="response.incomplete"):
    """The response was cut short."""


class ResponseError(Event, kw_only=True, tag="error"):
    """The response has broken off.

    Attributes:
        error: the same as an error of every other route, which clients look for in a stream.
    """

    code: str | None
    message: str
    param: str | None
    error: ErrorFacts


class _OfItem(Event, kw_only=True):
    output_index: int


class OutputItemAdded(_OfItem, kw_only=True, tag="response.output_item.added"):
    """An item has begun."""

    item: OutputItem


class OutputItemDone(_OfItem, kw_only=True, tag="response.output_item.done"):
    """An item is whole."""

    item: OutputItem


class FunctionCallArgumentsDelta(
    _OfItem, kw_only=True, tag="response.function_call_arguments.delta"
):
    """The arguments of a call have grown."""

    item_id: str
    delta: str


class FunctionCallArgumentsDone(_OfItem, kw_only=True, tag="response.function_call_arguments.done"):
    """The arguments of a call are whole."""

    item_id: str
    name: str
    arguments: str


class _OfPart(_OfItem, kw_only=True):
    item_id: str
    content_index: int = 0


class ContentPartAdded(_OfPart, kw_only=True, tag="response.content_part.added"):
    """A part of an item has begun."""

    part: OutputText | ReasoningText


class ContentPartDone(_OfPart, kw_only=True, tag="response.content_part.done"):
    """A part of an item is whole."""

    part: OutputText | ReasoningText


class OutputTextDelta(_OfPart, kw_only=True, tag="response.output_text.delta"):
    """A message has grown."""

    delta: str
    logprobs: list[TokenLogprob]


class OutputTextDone(_OfPart, kw_only=True, tag="response.output_text.done"):
    """The text of a message is whole."""

    text: str
    logprobs: list[TokenLogprob]


class ReasoningTextDelta(_OfPart, kw_only=True, tag="response.reasoning_text.delta"):
    """What the model thinks has grown."""

    delta: str


class ReasoningTextDone(_OfPart, kw_only=True, tag="response.reasoning_text.done"):
    """What the model thought is whole."""

    text: str


EVENTS: Final = (
    ResponseCreated,
    ResponseInProgress,
    ResponseCompleted,
    ResponseIncomplete,
    ResponseError,
    OutputItemAdded,
    OutputItemDone,
    FunctionCallArgumentsDelta,
    FunctionCallArgumentsDone,
    ContentPartAdded,
    ContentPartDone,
    OutputTextDelta,
    OutputTextDone,
    ReasoningTextDelta,
    ReasoningTextDone,
)
