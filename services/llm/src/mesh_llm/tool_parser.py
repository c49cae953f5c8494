"""Finds tool calls in what a model says, piece by piece, in the format of Hermes.

    <tool_call>
    {"name": "get_weather", "arguments": {"city": "Paris"}}
    </tool_call>

Source: NousResearch, Hermes-Function-Calling; the chat template of Qwen2.5 asks for the same.
"""

import json
import re
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from mesh_llm.answers import ToolCallDelta
from mesh_llm.text_tags import overlap

OPEN: Final = "<tool_call>"
CLOSE: Final = "</tool_call>"
_HEADER: Final = re.compile(
    r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\{)', re.DOTALL
)


def new_call_id() -> str:
    """An id for a tool call."""
    return f"call_{secrets.token_hex(12)}"


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a piece of text turned out to be.

    Attributes:
        content: what is said, outside of calls.
        calls: what calls have grown by.
    """

    content: str = ""
    calls: tuple[ToolCallDelta, ...] = ()


class _State(Enum):
    CONTENT = auto()  # outside of calls
    HEADER = auto()  # in a call whose name and arguments have not begun
    ARGUMENTS = auto()  # in the arguments of a call
    CLOSING = auto()  # between the arguments of a call and its end


class ToolParser:
    """Parses one choice. How the text is cut into pieces makes no difference to the whole.

    Text that looks like a call and is none, by its form or because no such tool is offered, is
    content as it stands: no caller gets a call that it can't make sense of.

    Args:
        tools: names of those that are offered.
        new_id: makes the ids of calls.
    """

    def __init__(self, tools: Collection[str], new_id: Callable[[], str] = new_call_id) -> None:
        self._tools = frozenset(tools)
        self._new_id = new_id
        self._state = _State.CONTENT
        self._buffer = ""
        # White space before what may be a call: part of the content where it is none.
        self._gap = ""
        self._value = _JsonObject()
        self._content: list[str] = []
        self._calls: list[ToolCallDelta] = []
        self.calls = 0
        """How many calls have begun."""

    def feed(self, text: str) -> Parsed:
        """Takes the next piece of text; says what is known of it by now."""
        self._buffer += text
        steps = {
            _State.CONTENT: self._read_content,
            _State.HEADER: self._read_header,
            _State.ARGUMENTS: self._read_arguments,
            _State.CLOSING: self._read_closing,
        }
        while steps[self._state]():
            pass
        return self._take()

    def finish(self) -> Parsed:
        """Says what is left when no more text comes."""
        if self._state is _State.HEADER:
            self._give_whole(self._buffer, closed=False)
        elif self._state is _State.CONTENT and not (self.calls and self._buffer.isspace()):
            self._content.append(self._buffer)
        self._buffer = ""
        return self._take()

    def _take(self) -> Parsed:
        parsed = Parsed("".join(self._content), tuple(self._calls))
        self._content, self._calls = [], []
        return parsed

    def _read_content(self) -> bool:
        """Reads up to a call. What may begin one, and white space before it, waits."""
        before, tag, after = self._buffer.partition(OPEN)
        if tag:
            said = before.rstrip()
            self._content.append(said)
            self._gap = before[len(said) :]
            self._buffer, self._state = after, _State.HEADER
            return True
        certain = len(self._buffer) - overlap(self._buffer, OPEN)
        certain = len(self._buffer[:certain].rstrip())
        self._content.append(self._buffer[:certain])
        self._buffer = self._buffer[certain:]
        return False

    def _read_header(self) -> bool:
        """Reads a call up to its arguments."""
        if header := _HEADER.match(self._buffer):
            name = _name(header[1])
            if name in self._tools:
                self._calls.append(ToolCallDelta(self.calls, self._new_id(), name))
                self._buffer = self._buffer[header.end() :]
                self._state, self._value = _State.ARGUMENTS, _JsonObject()
                return True
        inside, tag, after = self._buffer.partition(CLOSE)
        if not tag:
            return False
        self._give_whole(inside, closed=True)
        self._buffer, self._state = after, _State.CONTENT
        return True

    def _read_arguments(self) -> bool:
        size = self._value.size_in(self._buffer)
        if size:
            self._calls.append(ToolCallDelta(self.calls, arguments=self._buffer[:size]))
        self._buffer = self._buffer[size:]
        if not self._value.ended:
            return False
        self.calls += 1
        self._state = _State.CLOSING
        return True

    def _read_closing(self) -> bool:
        _, tag, after = self._buffer.partition(CLOSE)
        if not tag:
            return False
        self._buffer, self._state = after, _State.CONTENT
        return True

    def _give_whole(self, inside: str, *, closed: bool) -> None:
        """Gives a call that is not in the usual order, else the text as it stands."""
        try:
            call = json.loads(inside)
            name, arguments = call["name"], call["arguments"]
            if name not in self._tools or not isinstance(arguments, dict):
                raise KeyError(name)
        except (ValueError, KeyError, TypeError, RecursionError):
            self._content.append(self._gap + OPEN + inside + (CLOSE if closed else ""))
            return
        text = json.dumps(arguments, ensure_ascii=False)
        self._calls.append(ToolCallDelta(self.calls, self._new_id(), name, text))
        self.calls += 1


class _JsonObject:
    """Finds the end of a JSON object that comes in pieces."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self.ended = False

    def size_in(self, text: str) -> int:
        """How much of the text is of the object."""
        for place, character in enumerate(text):
            if self._in_string:
                self._in_string = self._escaped or character != '"'
                self._escaped = character == "\\" and not self._escaped
            elif character == '"':
                self._in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if not self._depth:
                    self.ended = True
                    return place + 1
        return len(text)


def _name(quoted: str) -> str | None:
    try:
        return str(json.loads(quoted))
    except ValueError:
        return None
