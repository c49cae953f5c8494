"""What the embedder can be asked, whatever the transport."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mesh_embedder.inputs import Embedding, Input, TokenIds, TooLong, Wish
from mesh_embedder.measures import count_tokens
from meshkit.accounts import Accounts
from meshkit.batching import MicroBatcher
from meshkit.errors import (
    FieldViolation,
    Internal,
    InvalidArgument,
    MeshError,
    NotFound,
    Overloaded,
)
from meshkit.texts import fault_of

_log = logging.getLogger(__name__)

MODEL: Final = "embedder"
"""What the store, the ledger and metrics call the model."""
MAX_TOKEN_IDS: Final = 300_000
"""Most ids in one request, over all its inputs: as many tokens as OpenAI's API takes."""
MIN_TOKENS: Final = 3
"""Fewest tokens that may be said to count: the special ones around a text, and one of its own."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a loaded version can be asked for.

    Attributes:
        names: what a request may call the model, its own name first.
        dimensions: numbers of an embedding where the request does not say how many.
        allowed_dimensions: every number that a request may ask for.
        max_tokens: most tokens of an input that count, the special ones included.
        vocabulary_size: token ids are less than this.
        max_inputs: most inputs in one request.
    """

    names: tuple[str, ...]
    dimensions: int
    allowed_dimensions: tuple[int, ...]
    max_tokens: int
    vocabulary_size: int
    max_inputs: int


class Embedder:
    """Embeds the inputs of many callers at once.

    Args:
        batcher: runs the network.
        accounts: what each request uses is written down there.
        abilities: of the version.
        max_queued: most inputs of one request that wait at once.
    """

    def __init__(
        self,
        batcher: MicroBatcher[Input, int, Embedding | TooLong],
        accounts: Accounts,
        abilities: Abilities,
        max_queued: int,
    ) -> None:
        self._batcher = batcher
        self._accounts = accounts
        self._abilities = abilities
        self._max_queued = max_queued

    async def embed(
        self, model: str, contents: Sequence[str | TokenIds], wish: Wish, field: str = "inputs"
    ) -> list[Embedding | MeshError]:
        """Embeds texts and token ids.

        Args:
            model: what the request calls the model; empty for the one that there is.
            contents: one to `max_inputs`; texts of 1 byte to 64 KiB of UTF-8, not only white space.
            wish: how to embed them.
            field: what the request calls them.

        Returns:
            For each of them, in their order, its embedding, or the error of the model on it.

        Raises:
            NotFound: there is no model of that name.
            InvalidArgument: names the field and each input that is wrong.
            Overloaded: more inputs wait than may; none of these was read.
            DeadlineExceeded: the current deadline passed first.
            Unavailable: the process is stopping.
        """
        self._check_model(model)
        inputs = self._checked(contents, wish, field)
        said: list[Embedding | MeshError] = []
        with self._accounts.request(MODEL) as account:
            for start in range(0, len(inputs), self._max_queued):
                share = inputs[start : start + self._max_queued]
                outcomes = await self._submit(share, first=not start)
                _refuse_too_long(outcomes, share, start, field)
                new = [_said(outcome) for outcome in outcomes]
                count_tokens(MODEL, tokens_of(new))
                said += new
                account.used(tokens_of(said))
        return said

    async def _submit(
        self, share: Sequence[Input], *, first: bool
    ) -> list[Embedding | TooLong | Exception]:
        """Runs a share of a request, which waits its turn once the request is let in."""
        while True:
            try:
                return await self._batcher.submit_many(share)
            except Overloaded as error:
                if first:
                    raise
                # Ends at the deadline at the latest, which every request has.
                await asyncio.sleep(error.retry_delay_s or 0)

    def _check_model(self, model: str) -> None:
        if model and model not in self._abilities.names:
            raise NotFound(
                f"there is no model {model[:100]!r} here; ask for {self._abilities.names[0]!r}",
                reason="MODEL_NOT_FOUND",
            )

    def _checked(
        self, contents: Sequence[str | TokenIds], wish: Wish, field: str
    ) -> Sequence[Input]:
        abilities = self._abilities
        if not contents:
            raise InvalidArgument.of_field(field, "is empty; send one input at least")
        if len(contents) > abilities.max_inputs:
            raise InvalidArgument.of_field(
                field,
                f"has {len(contents)} inputs and may have {abilities.max_inputs}; send them in "
                "several requests",
            )
        ids = sum(len(content) for content in contents if not isinstance(content, str))
        if ids > MAX_TOKEN_IDS:
            raise InvalidArgument.of_field(
                field,
                f"has {ids} token ids in all and may have {MAX_TOKEN_IDS}; send them in several "
                "requests",
            )
        dimensions = self._dimensions(wish.dimensions)
        max_tokens = self._max_tokens(wish.max_tokens)
        violations = [
            FieldViolation(f"{field}[{index}]", fault)
            for index, content in enumerate(contents)
            if (fault := self._fault(content))
        ]
        if violations:
            raise InvalidArgument.of_fields(violations)
        return [Input(content, dimensions, max_tokens, wish.truncate) for content in contents]

    def _dimensions(self, wanted: int | None) -> int:
        if wanted is None:
            return self._abilities.dimensions
        if wanted not in self._abilities.allowed_dimensions:
            allowed = ", ".join(map(str, self._abilities.allowed_dimensions))
            raise InvalidArgument.of_field(
                "dimensions", f"is {wanted}; {self._abilities.names[0]} has {allowed}"
            )
        return wanted

    def _max_tokens(self, wanted: int | None) -> int:
        most = self._abilities.max_tokens
        if wanted is None:
            return most
        if not MIN_TOKENS <= wanted <= most:
            raise InvalidArgument.of_field(
                "max_tokens", f"is {wanted}; send {MIN_TOKENS} to {most}, or leave it out"
            )
        return wanted

    def _fault(self, content: str | TokenIds) -> str | None:
        """What is wrong with an input; None when nothing is."""
        if isinstance(content, str):
            return fault_of(content)
        if not content:
            return "is empty; send a token at least, or leave it out"
        most, largest = self._abilities.vocabulary_size - 1, max(content)
        if largest > most:
            return (
                f"has the token id {largest} and the model's are 0 to {most}; send ids of its own "
                "tokenizer, or the text"
            )
        return None


def tokens_of(outcomes: Sequence[Embedding | MeshError]) -> int:
    """How many tokens were read."""
    return sum(each.tokens for each in outcomes if isinstance(each, Embedding))


def _refuse_too_long(
    outcomes: Sequence[Embedding | TooLong | Exception],
    share: Sequence[Input],
    start: int,
    field: str,
) -> None:
    """Refuses a request with inputs that are longer than they may be.

    Args:
        outcomes: of a share of the request.
        share: the inputs that they are of.
        start: index of the first of these.
        field: what the request calls its inputs.

    Raises:
        InvalidArgument: there is one; names each of the share.
    """
    violations = [
        FieldViolation(
            f"{field}[{index}]",
            f"has {outcome.tokens} tokens and may have {each.max_tokens}; send a part of it",
        )
        for index, (each, outcome) in enumerate(zip(share, outcomes, strict=True), start)
        if isinstance(outcome, TooLong)
    ]
    if violations:
        raise InvalidArgument.of_fields(violations)


def _said(outcome: Embedding | TooLong | Exception) -> Embedding | MeshError:
    if isinstance(outcome, Embedding):
        return outcome
    cause = outcome if isinstance(outcome, Exception) else None
    _log.error("the model failed on an input", exc_info=cause)
    return Internal("the model failed on this input", reason="MODEL_FAILED")
