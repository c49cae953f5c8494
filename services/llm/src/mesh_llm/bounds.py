"""Bounds of what callers have compiled: schemas, regular expressions and grammars.

The engine turns each of them into an automaton. A few bytes can describe one that fills the memory
(`(a{1000}){1000}`), and then every caller suffers. So what would become too large is refused by
counting, before anything is compiled.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

MAX_SCHEMA_BYTES: Final = 64 * 1024
MAX_SCHEMA_DEPTH: Final = 32
"""Most levels of objects and lists in a schema, or in the arguments of an earlier call."""
MAX_SCHEMA_NODES: Final = 4096
"""Most values in a schema."""
MAX_ARGUMENT_NODES: Final = 65_536
"""Most values in the arguments of an earlier call."""
MAX_PATTERN_BYTES: Final = 4096
MAX_PATTERN_STATES: Final = 2000
"""Most states of an expression's automaton, as counted here: repetitions written out."""
MAX_OPTIONAL_PAIRS: Final = 60_000
"""Most pairs of optional properties of an object, over all objects: each may follow each."""
MAX_REPEATS: Final = 10_000
"""Most repetitions of a thing in a schema, with the repetitions around it."""
MAX_GRAMMAR_BYTES: Final = 16 * 1024
MAX_CHOICES: Final = 1000
MAX_CHOICE_BYTES: Final = 64 * 1024

_REPEAT: Final = re.compile(r"\{(\d+)(?:,(\d*))?\}")
# Keywords that repeat something, and what a repetition stands in.
_REPEATING: Final = ("minItems", "maxItems", "minLength", "maxLength", "minProperties")


class Unfit(Exception):
    """It can't be compiled, or would become too large; the message says which, with the remedy."""


def check_schema(text: str) -> Any:
    """The JSON Schema that a text holds.

    Raises:
        Unfit: it is no JSON, no schema, or too large a one.
    """
    size = len(text.encode())
    if size > MAX_SCHEMA_BYTES:
        raise Unfit(f"has {size} bytes and may have {MAX_SCHEMA_BYTES}; send a smaller schema")
    schema = _object(text, "a JSON Schema that is an object, as text", MAX_SCHEMA_NODES)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = "/".join(str(step) for step in error.absolute_path) or "its root"
        raise Unfit(f"is no JSON Schema, at {place}: {error.message[:200]}; mend that") from None
    _check_repeats(schema)
    _check_optional(schema)
    return schema


def check_arguments(text: str) -> None:
    """Refuses arguments of an earlier call that are no JSON object, or too deep a one.

    Raises:
        Unfit: says why.
    """
    _object(text, "a JSON object as text", MAX_ARGUMENT_NODES)


def check_regex(pattern: str) -> None:
    """Refuses an expression that is none or would become too large.

    Raises:
        Unfit: says why.
    """
    size = len(pattern.encode())
    if not size:
        raise Unfit("is empty; send an expression, or leave it out")
    if size > MAX_PATTERN_BYTES:
        raise Unfit(f"has {size} bytes and may have {MAX_PATTERN_BYTES}; send a shorter one")
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise Unfit(f"is no regular expression ({error}); mend it") from None
    states = pattern_states(pattern)
    if states > MAX_PATTERN_STATES:
        raise Unfit(
            f"has {states} states with its repetitions written out and may have "
            f"{MAX_PATTERN_STATES}; lower the repetitions"
        )


def check_grammar(text: str) -> None:
    """Refuses a grammar that is too large; whether it is one, the engine finds out.

    Raises:
        Unfit: says why.
    """
    size = len(text.encode())
    if not text.strip():
        raise Unfit("is empty; send a grammar, or leave it out")
    if size > MAX_GRAMMAR_BYTES:
        raise Unfit(f"has {size} bytes and may have {MAX_GRAMMAR_BYTES}; send a shorter one")
    for part in text.splitlines():
        states = pattern_states(part)
        if states > MAX_PATTERN_STATES:
            raise Unfit(
                f"has a line with {states} states with its repetitions written out and may have "
                f"{MAX_PATTERN_STATES}; lower the repetitions"
            )


def pattern_states(pattern: str) -> int:
    """How many states an expression has once its counted repetitions are written out.

    Counts characters: a group counts what is in it, and `{m,n}` repeats what stands before it n
    times, or m times where n is open.
    """
    sizes = [0]  # of what has been read in each group that is open
    last = 0  # the size of what a repetition would repeat
    total = 0
    place = 0
    while place < len(pattern) and total <= MAX_PATTERN_STATES:
        step = 1
        more = 0
        if pattern[place] == "(":
            sizes.append(0)
            last = 0
        elif pattern[place] == ")" and len(sizes) > 1:
            last = sizes.pop() + 1
            sizes[-1] += last
            total += 1
        elif repeat := _REPEAT.match(pattern, place):
            step = repeat.end() - place
            times = max(1, int(repeat[2] or repeat[1]))
            more = last * (times - 1)
            last *= times
        else:
            step = _atom_length(pattern, place)
            last = more = 1
        sizes[-1] += more
        total += more
        place += step
    return total


def _atom_length(pattern: str, place: int) -> int:
    """Length of one character, escape or set of characters."""
    if pattern[place] == "\\":
        return 2
    if pattern[place] != "[":
        return 1
    first = place + 1 + pattern.startswith("^", place + 1)  # a bracket there is one of the set
    end = first
    while end < len(pattern) and (pattern[end] != "]" or end == first):
        end += 2 if pattern[end] == "\\" else 1
    return end + 1 - place


def _object(text: str, wanted: str, most: int) -> dict[str, Any]:
    """The JSON object that a text holds, with so many values at most."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise Unfit(_too_deep()) from None
    except ValueError as error:
        raise Unfit(f"is no JSON ({error}); send {wanted}") from None
    if not isinstance(value, dict):
        raise Unfit(f"is {text[:40]!r}; send {wanted}")
    _check_size(value, most)
    if "\\ud" in text.lower():
        _check_characters(value)
    return value


def _check_characters(value: dict[str, Any]) -> None:
    """Refuses halves of characters, which JSON can escape and no text can hold."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise Unfit(f"has half a character ({half!r}); send both halves, or none") from None


def _check_size(value: Any, most: int) -> None:
    nodes = 0
    level = [value]
    for _ in range(MAX_SCHEMA_DEPTH + 1):
        nodes += len(level)
        if nodes > most:
            raise Unfit(f"has over {most} values; send fewer")
        level = [child for node in level for child in _children(node)]
        if not level:
            return
    raise Unfit(_too_deep())


def _too_deep() -> str:
    return f"has over {MAX_SCHEMA_DEPTH} levels; nest it less"


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        yield from node.values()
    elif isinstance(node, list):
        yield from node


def _check_repeats(schema: Any) -> None:
    """Refuses repetitions whose product, along any path, would become too large."""
    waiting: list[tuple[Any, int]] = [(schema, 1)]
    while waiting:
        node, times = waiting.pop()
        if isinstance(node, dict):
            counts = [node[name] for name in _REPEATING if isinstance(node.get(name), int)]
            times *= max([1, *counts])
            if not str(reference := node.get("$ref", "#")).startswith("#"):
                raise Unfit(f"refers to {reference!r:.80}; put that into $defs")
            if isinstance(pattern := node.get("pattern"), str):
                check_regex(pattern)
                times *= pattern_states(pattern)
        if times > MAX_REPEATS:
            raise Unfit(
                f"repeats something {times} times, with the repetitions around it, and may do so "
                f"{MAX_REPEATS} times; lower {', '.join(_REPEATING)} or its patterns"
            )
        waiting += [(child, times) for child in _children(node)]


def _check_optional(schema: Any) -> None:
    """Refuses objects with so many optional properties that their order alone explodes."""
    pairs = 0
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict) and isinstance(named := node.get("properties"), dict):
            required = node.get("required")
            optional = set(named) - set(required if isinstance(required, list) else ())
            pairs += len(optional) ** 2
        waiting += _children(node)
    if pairs > MAX_OPTIONAL_PAIRS:
        raise Unfit(
            f"has objects with {pairs} pairs of optional properties and may have "
            f"{MAX_OPTIONAL_PAIRS}; make more of them required, or leave some out"
        )


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
