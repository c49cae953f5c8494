"""Writes the table of the chart's values into its README, from the comments in values.yaml.

`python reference.py` writes it; with `--check` it only says whether that would change anything.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

_HERE: Final = Path(__file__).resolve().parent
CHART: Final = _HERE / "inference-mesh"
BEGIN: Final = "<!-- values: made by charts/reference.py -->\n"
END: Final = "<!-- end of values -->\n"
_KEY: Final = re.compile(r"( *)([A-Za-z_][A-Za-z0-9_]*):(.*)")
_COMMENT: Final = re.compile(r" *# ?(.*)")
_MARK: Final = "-- "


@dataclass(frozen=True)
class Value:
    """One documented value.

    Attributes:
        path: its name from the top, such as `gateway.service.type`.
        meaning: what its comment says.
        default: what it is where nobody says otherwise.
    """

    path: str
    meaning: str
    default: Any


@dataclass(frozen=True)
class Key:
    """A key as it stands in the file: its place, and the comment above it."""

    path: tuple[str, ...]
    comment: str
    alias: bool


def keys(text: str) -> Iterator[Key]:
    """Every key of a file of values, in its order."""
    above: list[str] = []
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        if comment := _COMMENT.fullmatch(line):
            above.append(comment[1])
        elif key := _KEY.fullmatch(line):
            indent = len(key[1])
            path = [*(each for each in path if each[0] < indent), (indent, key[2])]
            alias = key[3].strip().startswith("*")
            yield Key(tuple(name for _, name in path), " ".join(above), alias)
            above = []
        elif not line.strip():
            above = []


def values(text: str) -> list[Value]:
    """Every documented value of a file, in its order."""
    whole = yaml.safe_load(text)
    found = []
    for key in keys(text):
        if key.comment.startswith(_MARK):
            meaning = key.comment.removeprefix(_MARK)
            found.append(Value(".".join(key.path), meaning, _at(whole, key.path)))
    return found


def undocumented(text: str) -> list[str]:
    """The paths of values that no comment explains, neither their own nor one further up."""
    every = list(keys(text))
    explained = {key.path for key in every if key.comment.startswith(_MARK) or key.alias}
    parents = {key.path[:depth] for key in every for depth in range(1, len(key.path))}
    return [
        ".".join(key.path)
        for key in every
        if key.path not in parents
        and not any(key.path[:depth] in explained for depth in range(1, len(key.path) + 1))
    ]


def table(text: str) -> str:
    """The values as a Markdown table."""
    rows = ["| value | default | meaning |", "| --- | --- | --- |"]
    for value in values(text):
        default = json.dumps(value.default, separators=(", ", ": ")).replace("|", "\\|")
        rows.append(f"| `{value.path}` | `{default}` | {value.meaning} |")
    return "\n".join(rows) + "\n"


def page(readme: str, text: str) -> str:
    """The README with the table of today.

    Raises:
        ValueError: it has no place for the table.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README needs the lines {BEGIN.strip()} and {END.strip()}")
    return f"{before}{begin}\n{table(text)}\n{end}{after}"


def main(arguments: list[str]) -> int:
    """Writes the README, or says whether it is stale; an exit status."""
    readme = CHART / "README.md"
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    old = readme.read_text(encoding="utf-8")
    new = page(old, text)
    if arguments == ["--check"]:
        missing = undocumented(text)
        if missing:
            sys.stderr.write(f"values.yaml says nothing of {', '.join(missing)}\n")
        if new != old:
            sys.stderr.write(f"{readme} is stale: run charts/.venv/bin/python {__file__}\n")
        return int(bool(missing) or new != old)
    readme.write_text(new, encoding="utf-8")
    return 0


def _at(whole: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        whole = whole[name]
    return whole


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
