"""What is measured of requests, beside what the batcher and the server measure."""

from typing import Final

from meshkit import names, telemetry
from meshkit.names import TokenType

_OPERATION: Final = "embeddings"
"""What it does, in the words of the GenAI conventions."""

_tokens: Final = telemetry.counter(names.TOKENS, "{token}", "Tokens that were read and generated.")


def count_tokens(model: str, tokens: int) -> None:
    """Counts tokens that were read.

    Args:
        model: name of the model in the store.
        tokens: how many.
    """
    kinds = {
        names.GEN_AI_OPERATION: _OPERATION,
        names.GEN_AI_MODEL: model,
        names.GEN_AI_TOKEN_TYPE: TokenType.INPUT.value,
    }
    _tokens.add(tokens, kinds)
