"""What an evaluation has found."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of tools, as counts of cases.

    Attributes:
        cases: how many were asked.
        constrained_parse: calls, where every token was held to the schema.
        constrained_right: those of them that are the right one.
        in_format_parse: calls in the format that the prompt asks for, where nothing was held.
        in_format_right: those of them that are right.
        anywhere_parse: calls in any form, found by looking for JSON, where nothing was held.
        anywhere_right: those of them that are right.
    """

    cases: int
    constrained_parse: int
    constrained_right: int
    in_format_parse: int
    in_format_right: int
    anywhere_parse: int
    anywhere_right: int


@dataclass(frozen=True, slots=True)
class Forms:
    """Answers that should fit a schema, as counts of cases.

    Attributes:
        cases: how many were asked.
        constrained: fit, where every token was held to the schema.
        in_words: fit, where the prompt alone asks for it.
        in_words_fenced: fit in words, once a fence of Markdown is taken off.
    """

    cases: int
    constrained: int
    in_words: int
    in_words_fenced: int


@dataclass(frozen=True, slots=True)
class Text:
    """What rounding the weights does to the text.

    Attributes:
        tokens: that were predicted.
        perplexity: of the text.
        same_likeliest: share of places whose likeliest token is that of the weights as they are.
    """

    tokens: int
    perplexity: float
    same_likeliest: float


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a form is served.

    Attributes:
        alone_tokens_per_s: output tokens a second for one caller.
        together_tokens_per_s: the same for several at once.
        together: how many they are.
        first_token_ms: median time to the first token of the prompt below, one caller.
        prompt_tokens: of that prompt.
    """

    alone_tokens_per_s: float
    together_tokens_per_s: float
    together: int
    first_token_ms: float
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Weights:
    """One form of the weights.

    Attributes:
        name: such as `INT8`.
        how: how it was made and is computed.
        file_bytes: size of the file of weights.
        text: what it does to the text.
        calls: of tools.
        speed: as it is served; None where the engine does not serve this form here.
        refusal: why not, in the engine's words.
    """

    name: str
    how: str
    file_bytes: int
    text: Text
    calls: Calls | None
    speed: Speed | None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything.

    Attributes:
        version: which version.
        base: the model that it is.
        quantised_before: what the published weights had been rounded to.
        processor: what it was measured on.
        compiled: whether the engine had compiled the model.
        forms: answers that should fit a schema, by the weights as they are.
        weights: each form of the weights, the first as they are.
    """

    version: str
    base: str
    quantised_before: str
    processor: str
    compiled: bool
    forms: Forms
    weights: Sequence[Weights]
