"""What the mix is made of."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mesh_load.texts import Texts

CLASSIFY: Final = "/v1/classify"
INFER: Final = "/v2/models/classifier/infer"
OK: Final = 200
BAD: Final = 400


@dataclass(frozen=True)
class Ask:
    """A request over HTTP, and the status that is right for it."""

    path: str
    body: str
    status: int = OK


@dataclass(frozen=True)
class Kind:
    """A kind of request.

    Attributes:
        name: in the report.
        share: how many of a hundred are of this kind.
        texts: that one has.
        text: makes one of them.
        form: turns texts into a request.
    """

    name: str
    share: int
    texts: int
    text: Callable[[Texts], str]
    form: Callable[[list[str]], Ask]

    def ask(self, texts: Texts) -> Ask:
        """The next request."""
        return self.form(self.some(texts))

    def some(self, texts: Texts) -> list[str]:
        """The texts of a request."""
        return [self.text(texts) for _ in range(self.texts)]


def native(texts: list[str]) -> Ask:
    """The API's own form."""
    return Ask(CLASSIFY, json.dumps({"texts": texts}))


def tensors(texts: list[str]) -> Ask:
    """The form of the Open Inference Protocol."""
    tensor: Any = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts}
    return Ask(INFER, json.dumps({"inputs": [tensor]}))


def bad(texts: list[str]) -> Ask:
    """What callers send by mistake; each must be refused with 400."""
    mistakes: tuple[Any, ...] = (
        {"texts": []},
        {"texts": [*texts, ""]},
        {"texts": texts, "temperature": 1},
        {"texts": texts[0]},
        {"text": texts},
    )
    broken = json.dumps({"texts": texts})[:-2]
    bodies = [broken, *(json.dumps(each) for each in mistakes)]
    return Ask(CLASSIFY, random.choice(bodies), BAD)  # noqa: S311  # no secret


HTTP_KINDS: Final = (
    Kind("classify, 1 short text", 25, 1, Texts.short, native),
    Kind("classify, 1 long text", 10, 1, Texts.long, native),
    Kind("classify, 4 texts", 15, 4, Texts.usual, native),
    Kind("classify, 16 texts", 5, 16, Texts.usual, native),
    Kind("tensors, 1 short text", 10, 1, Texts.short, tensors),
    Kind("tensors, 4 texts", 10, 4, Texts.usual, tensors),
    Kind("bad request", 5, 1, Texts.short, bad),
)
GRPC_KINDS: Final = (
    Kind("gRPC, 1 short text", 15, 1, Texts.short, native),
    Kind("gRPC, 16 texts", 5, 16, Texts.usual, native),
)
TEXTS: Final = {kind.name: kind.texts for kind in (*HTTP_KINDS, *GRPC_KINDS)} | {"bad request": 0}
"""Texts that an answer of each kind classifies."""


def kinds(*, grpc: bool) -> tuple[Kind, ...]:
    """The kinds of a mix, with or without gRPC."""
    return (*HTTP_KINDS, *GRPC_KINDS) if grpc else HTTP_KINDS
