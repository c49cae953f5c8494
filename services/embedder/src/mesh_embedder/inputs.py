"""What the embedder is asked to embed, and what it answers to that."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from meshkit.onnx import FloatArray

TokenIds: TypeAlias = Sequence[int]
"""A text as ids of the model's own tokenizer; the special ones around it may be left out."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How the inputs of a request are to be embedded.

    Attributes:
        dimensions: numbers of each embedding; None for as many as the model gives.
        max_tokens: most tokens of each input that count, the special ones included; None for as
            many as the model reads.
        truncate: whether the beginning of a longer input is embedded; else that is refused.
    """

    dimensions: int | None = None
    max_tokens: int | None = None
    truncate: bool = True


@dataclass(frozen=True, slots=True)
class Input:
    """One input, as the network takes it.

    Attributes:
        content: a text, or its token ids.
        dimensions: numbers of its embedding.
        max_tokens: most tokens of it that count, the special ones included.
        truncate: whether its beginning is embedded where it has more.
    """

    content: str | TokenIds
    dimensions: int
    max_tokens: int
    truncate: bool


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """One input as a vector.

    Attributes:
        values: float32 [dimensions], of length 1.
        tokens: how many counted, the special ones included.
        truncated: whether the input had more.
    """

    values: FloatArray
    tokens: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class TooLong:
    """An input that has more tokens than may count, and may not be truncated.

    Attributes:
        tokens: how many it has, the special ones included.
    """

    tokens: int
