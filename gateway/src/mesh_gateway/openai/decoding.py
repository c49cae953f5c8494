"""The bodies of OpenAI's API: one parse, and what is wrong with one in the codes of that API."""

import asyncio
import json
import re
from typing import Any, Final, TypeVar

import msgspec

from meshkit.errors import FieldViolation, InvalidArgument

T = TypeVar("T")
_DOCS: Final = "see docs/openai.md for what there is"
# What msgspec says, with the code that OpenAI's API has for it.
_CODES: Final = (
    (re.compile(r"Object missing required field `(?P<field>[^`]+)`"), "MISSING_REQUIRED_PARAMETER"),
    (re.compile(r"Object contains unknown field `(?P<field>[^`]*)`"), "UNKNOWN_PARAMETER"),
    (re.compile(r"Invalid (enum )?value"), "INVALID_VALUE"),
    (re.compile(r"Expected `array` of length >= "), "EMPTY_ARRAY"),
    (re.compile(r"Expected `array` of length <= "), "ARRAY_ABOVE_MAX_LENGTH"),
    (re.compile(r"Expected `str` of length >= "), "EMPTY_STRING"),
    (re.compile(r"Expected `str` of length <= "), "STRING_ABOVE_MAX_LENGTH"),
    (re.compile(r"Expected `int` >=? "), "INTEGER_BELOW_MIN_VALUE"),
    (re.compile(r"Expected `int` <=? "), "INTEGER_ABOVE_MAX_VALUE"),
    (re.compile(r"Expected `float` >=? "), "DECIMAL_BELOW_MIN_VALUE"),
    (re.compile(r"Expected `float` <=? "), "DECIMAL_ABOVE_MAX_VALUE"),
    (re.compile(r"Number out of range"), "INVALID_VALUE"),
    (re.compile(r""), "INVALID_TYPE"),
)
_PLACE: Final = re.compile(r" - at `(?:key` in `)?\$")
# Braces, and strings with the colon behind them if they are keys. What is between does not matter:
# the body is known to be JSON.
_MARKS: Final = re.compile(rb'[{}]|"([^"]*)"(?:[ \t\r\n]*(:))?')
# What stands for these two inside, where no quote may be that ends no string. JSON has no control
# characters in strings.
_BACKSLASH: Final = (rb"\\", b"\1")
_QUOTE: Final = (rb"\"", b"\2")
_ESCAPES: Final = re.compile(rb"[\1\2\\]")
_LARGE_BYTES: Final = 64 * 1024


async def decode(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """The body as the decoder's type; a large one beside the loop.

    Raises:
        InvalidArgument: it is not JSON, says something twice, or is not of the type; the reason is
            OpenAI's code, in capitals.
    """
    if len(body) > _LARGE_BYTES:
        return await asyncio.to_thread(_decoded, decoder, body)
    return _decoded(decoder, body)


def _decoded(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    try:
        decoded = decoder.decode(body)
    except UnicodeDecodeError:
        raise _no_json("is not valid UTF-8") from None
    except RecursionError:
        raise _no_json("is nested too deep") from None
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except msgspec.DecodeError as error:
        raise _no_json(f"is not valid JSON ({error})") from None
    _check_keys(body)
    return decoded


def convert(given: Any, kind: Any, field: str) -> Any:
    """A part of the body, that is decoded, as its type.

    Args:
        given: the part.
        kind: the type.
        field: its path in the body.

    Raises:
        InvalidArgument: it is not of the type; the reason is OpenAI's code, in capitals.
    """
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), field) from None


def text_of(raw: msgspec.Raw, field: str) -> str:
    """A part of the body that is passed on as it stands.

    Raises:
        InvalidArgument: it is not UTF-8.
    """
    try:
        return str(bytes(raw), "utf-8")
    except UnicodeDecodeError:
        raise _no_json(f"is not valid UTF-8, within {field}") from None


def schema_of(raw: msgspec.Raw | msgspec.UnsetType, field: str) -> str:
    """A JSON Schema within the body as text; empty where there is none, or null.

    Raises:
        InvalidArgument: it is not UTF-8.
    """
    text = "" if raw is msgspec.UNSET else text_of(raw, field)
    return "" if text == "null" else text


def refusal(field: str, description: str, reason: str) -> InvalidArgument:
    """The error of one parameter.

    Args:
        field: its path, as OpenAI's `param`.
        description: what is wrong with it and the remedy; the message is the path and this.
        reason: OpenAI's code, in capitals.
    """
    return InvalidArgument(
        f"{field} {description}", reason=reason, violations=[FieldViolation(field, description)]
    )


def _no_json(what: str) -> InvalidArgument:
    return InvalidArgument(f"the body {what}; send a JSON object in UTF-8", reason="BODY_NOT_JSON")


def _invalid(explanation: str, part: str = "") -> InvalidArgument:
    """Turns what msgspec says, "Expected `str`, got `int` - at `$.model`", into our error.

    Args:
        explanation: what it says.
        part: path of what it looked at; empty for the body.
    """
    problem, *path = _PLACE.split(explanation, maxsplit=1)
    within = (part + "".join(path).rstrip("`")).lstrip(".")
    for pattern, reason in _CODES:
        if match := pattern.match(problem):
            named = match.groupdict().get("field")
            field = ".".join(each for each in (within, named) if each) or "the body"
            said = _said(problem, reason)
            return refusal(field, said, reason) if field != "the body" else _no_json(said)
    raise AssertionError("the last pattern matches everything")


def _said(problem: str, reason: str) -> str:
    if reason == "MISSING_REQUIRED_PARAMETER":
        return f"is missing and is required; {_DOCS}"
    if reason == "UNKNOWN_PARAMETER":
        return f"is no parameter that is known here; leave it out, or {_DOCS}"
    wrong = problem.replace("`", "'")
    return f"is not what it should be: {wrong[:1].lower()}{wrong[1:]}; {_DOCS}"


def _check_keys(body: bytes) -> None:
    """Refuses an object that has a key twice: which value counts would be anybody's guess.

    Raises:
        InvalidArgument: names the key.
    """
    outer: list[set[bytes]] = []
    keys: set[bytes] = set()
    for match in _MARKS.finditer(body.replace(*_BACKSLASH).replace(*_QUOTE)):
        mark = match[0]
        if mark == b"{":
            outer.append(keys)
            keys = set()
        elif mark == b"}":
            keys = outer.pop()
        elif match[2]:
            key = _plain(match[1])
            if key in keys:
                name = key.decode("utf-8", "replace")[:100]
                raise refusal(name, "stands twice in one object; send it once", "DUPLICATE_KEY")
            keys.add(key)


def _plain(key: bytes) -> bytes:
    """A key without escapes."""
    if not _ESCAPES.search(key):
        return key
    quoted = key.replace(*_QUOTE[::-1]).replace(*_BACKSLASH[::-1])
    text: str = json.loads(b'"' + quoted + b'"')
    return text.encode("utf-8", "surrogatepass")
