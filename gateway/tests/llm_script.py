"""What the scripted language model says: the last message of the user is its script.

A script is statements, one a line, or in one line with semicolons between:

    say WORDS          its words, one a delta
    words N            "word0 word1 ...", one a delta
    bytes N            one delta of that many letters
    for ever           deltas of 10 kB without end
    think WORDS        reasoning, one word a delta
    call TOOL {...}    a tool call, its arguments in pieces
    pause MS           before every delta that follows
    wait               nothing more, for ever
    finish REASON      "stop", "length", "tool_calls" or "content_filter"
    fail CLASS         an error of that class of meshkit.errors
    refuse FIELD WORDS an InvalidArgument that names the field
    fault              an error of no class, with a secret
    who                key, tenant and id of the request
    time               seconds that are left of the deadline
    request            the request itself, as JSON

The text "counts" alone is answered, past all scripts, with how many generations were begun, are
open and have ended, and how many messages were made.

What is no script is said again, word by word.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from meshkit.errors import InvalidArgument
from stand_in_errors import ask_for, error_of

_LARGE: Final = "x" * 10_000
_PIECE: Final = 8
_STATEMENTS: Final = re.compile(
    r"(say|words|bytes|for ever|think|call|pause|wait|finish|fail|refuse|fault|who|time|request)"
    r"(?: (.*))?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Piece:
    """What one delta says.

    Attributes:
        content: more of the content.
        reasoning: more of what was thought.
        call: which tool call it is of; None where it is of none.
        tool: its name, in its first piece.
        arguments: more of its arguments.
    """

    content: str = ""
    reasoning: str = ""
    call: int | None = None
    tool: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Finish:
    """How the answer ends."""

    reason: str


Fact = Callable[[], str]


async def play(text: str, facts: dict[str, Fact]) -> AsyncGenerator[Piece | Finish, None]:
    """Plays a script.

    Args:
        text: the script, or anything else.
        facts: what is said for "who" and the like.
    """
    ends = "\n" if "\n" in text else ";"
    statements = [each.strip() for each in text.split(ends) if each.strip()]
    matches = [_STATEMENTS.fullmatch(each) for each in statements]
    if not all(matches) or not matches:
        matches = [_STATEMENTS.fullmatch(f"say {text}")]
    pause_s = 0.0
    calls = 0
    for match in matches:
        assert match is not None
        command, rest = match[1], match[2] or ""
        if command == "pause":
            pause_s = float(rest) / 1000
        elif command == "wait":
            await asyncio.Event().wait()
        elif command == "for ever":
            while True:
                yield Piece(_LARGE)
        elif command == "finish":
            yield Finish(rest)
        elif command in facts:
            yield Piece(facts[command]())
        else:
            _raise(command, rest)
            for piece in _pieces(command, rest, calls):
                await asyncio.sleep(pause_s)
                yield piece
            calls += command == "call"


def _raise(command: str, rest: str) -> None:
    if command == "fault":
        raise ZeroDivisionError("a secret of the implementation")
    if command == "refuse":
        raise InvalidArgument.of_field(*rest.split(" ", 1))
    if command == "fail":
        raise error_of(ask_for(rest)) or AssertionError(f"{rest} is no class of errors")


def _pieces(command: str, rest: str, calls: int) -> Iterator[Piece]:
    match command:
        case "say":
            for word in re.findall(r"\S+\s*|\s+", rest):
                yield Piece(word)
        case "think":
            for word in re.findall(r"\S+\s*", rest):
                yield Piece(reasoning=word)
        case "words":
            for number in range(int(rest)):
                yield Piece(f"word{number} ")
        case "bytes":
            yield Piece("x" * int(rest))
        case "call":
            name, _, arguments = rest.partition(" ")
            yield Piece(call=calls, tool=name)
            for start in range(0, len(arguments), _PIECE):
                yield Piece(call=calls, arguments=arguments[start : start + _PIECE])
