"""The most tokens that a request may use, from the request alone: nothing here knows a tokenizer.

A token of a byte-level vocabulary is one byte at least, so a prompt has no more tokens than bytes.
Bounds are some four times what is used; what is not used comes back when the request has ended.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mesh.embedding.v1 import embedding_pb2
from mesh.llm.v1 import llm_pb2

# What chat templates add: a system prompt of their own, the marks of each message and of each tool.
_TEMPLATE_TOKENS: Final = 512
_MESSAGE_TOKENS: Final = 16
_TOOL_TOKENS: Final = 64
_SPECIAL_TOKENS: Final = 4
_CONTEXT_TOKENS: Final = 32_768
"""Of a model that does not say it."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The most tokens of a request.

    Attributes:
        prompt: of its input.
        completion: of its output, over all its choices.
        choices: how many there are.
        most_each: most tokens that a choice may be cut to, for a request that does not say its own
            most; 0 for one that does.
    """

    prompt: int = 0
    completion: int = 0
    choices: int = 1
    most_each: int = 0

    @property
    def total(self) -> int:
        """What limits count."""
        return self.prompt + self.completion

    def within(self, most: int) -> "Bound | None":
        """The bound where no more may be used; None where the request can't be cut to that."""
        if self.total <= most:
            return self
        each = min((most - self.prompt) // self.choices, self.most_each)
        return Bound(self.prompt, each * self.choices, self.choices, each) if each > 0 else None


def of_chat(request: llm_pb2.ChatRequest, context_tokens: int = 0) -> Bound:
    """The bound of a conversation.

    Args:
        request: what is asked.
        context_tokens: most tokens of prompt and answer together; 0 where that is not known.
    """
    prompt = request.ByteSize() - request.structured_output.ByteSize() + _TEMPLATE_TOKENS
    prompt += _MESSAGE_TOKENS * len(request.messages) + _TOOL_TOKENS * len(request.tools)
    return _bound(prompt, request.sampling, context_tokens)


def of_completion(request: llm_pb2.CompleteRequest, context_tokens: int = 0) -> Bound:
    """The bound of a text to be continued; as `of_chat`."""
    if request.WhichOneof("prompt") == "token_ids":
        prompt = len(request.token_ids.ids)
    else:
        prompt = len(request.text.encode()) + _SPECIAL_TOKENS
    return _bound(prompt, request.sampling, context_tokens)


def of_embedding(request: embedding_pb2.EmbedRequest, context_tokens: int = 0) -> Bound:
    """The bound of inputs to be embedded, each of which is cut to what the model reads."""
    return Bound(sum(_each(_input_tokens(request.inputs), context_tokens)))


def _input_tokens(inputs: Iterable[embedding_pb2.EmbedInput]) -> Iterable[int]:
    for each in inputs:
        if each.WhichOneof("input") == "token_ids":
            yield len(each.token_ids.ids) + _SPECIAL_TOKENS
        else:
            yield len(each.text.encode()) + _SPECIAL_TOKENS


def _each(tokens: Iterable[int], most: int) -> Iterable[int]:
    return (min(each, most) for each in tokens) if most else tokens


def _bound(prompt: int, sampling: llm_pb2.Sampling, context_tokens: int) -> Bound:
    context = context_tokens or _CONTEXT_TOKENS
    prompt = min(prompt, context)
    choices = max(1, sampling.n)
    if sampling.HasField("max_tokens"):
        return Bound(prompt, choices * max(0, sampling.max_tokens), choices)
    # Prompt and answer have the context between them.
    return Bound(prompt, choices * context - prompt, choices, context - prompt)
