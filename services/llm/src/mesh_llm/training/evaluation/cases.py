"""What the model is asked: calls with one right answer each, texts to put in form, to predict."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from mesh_pipelines.rated_texts import read_rated_texts

_SOURCE: Final = "editorials"


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that is offered.

    Attributes:
        name: of the tool.
        description: what it does.
        parameters: JSON Schema of its arguments.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCase:
    """A question that one call answers.

    Attributes:
        question: what the user says.
        offered: the tools to choose from.
        tool: the name of the right one.
        arguments: for each argument the values that are right.
    """

    question: str
    offered: Sequence[Tool]
    tool: str
    arguments: Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class SchemaCase:
    """A text to be put into the form of a schema.

    Attributes:
        text: what there is to say.
        schema: JSON Schema of the answer.
    """

    text: str
    schema: Mapping[str, Any]


def tool_cases() -> list[ToolCase]:
    """The calls, in their order."""
    read = _read("tool_cases.json")
    tools = {name: Tool(name, **said) for name, said in read["tools"].items()}
    return [
        ToolCase(
            question=case["question"],
            offered=[tools[name] for name in case["offered"]],
            tool=case["tool"],
            arguments=case["arguments"],
        )
        for case in read["cases"]
    ]


def schema_cases() -> list[SchemaCase]:
    """The texts, in their order."""
    read = _read("schema_cases.json")
    return [SchemaCase(case["text"], read["schemas"][case["schema"]]) for case in read["cases"]]


def editorials(archive: Path) -> str:
    """The editorials of the rated texts, whose sentences stand in their order, one after the other.

    Raises:
        BadRatedTexts: the archive has another form.
    """
    sentences = [text for text in read_rated_texts(archive) if text.source == _SOURCE]
    by_document = groupby(sentences, key=lambda text: text.document)
    return "\n\n".join(" ".join(each.text for each in document) for _, document in by_document)


def _read(name: str) -> Any:
    return json.loads(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))
