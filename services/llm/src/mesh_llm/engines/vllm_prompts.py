"""Requests as vLLM wants them: tokens of the prompt, and parameters of the sampling."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from jinja2 import TemplateError

from mesh_llm import reasoning
from mesh_llm.engines import vllm_errors
from mesh_llm.engines.openai_bodies import message_body, tool_body
from mesh_llm.requests import Message, Role, Sampling, Text, Tool
from meshkit.errors import FieldViolation, InvalidArgument

# Fields of Sampling that vLLM has by the same name.
_SAME: Final = (
    *("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty"),
    *("repetition_penalty", "seed", "logprobs", "min_tokens"),
)


class Prompts:
    """Makes tokens of texts and conversations, beside the loop and one at a time.

    A tokenizer is not made for several threads.

    Args:
        tokenizer: the model's own.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tokenizer")

    def close(self) -> None:
        """Lets go of the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    @property
    def template(self) -> str | None:
        """The model's chat template."""
        template: str | None = self._tokenizer.chat_template
        return template

    async def opens_thoughts(self) -> bool:
        """Whether the template itself begins the thought of an answer."""
        rendered = await self.of_chat([Message(Role.USER, [Text("Hello.")])], ())
        return str(self._tokenizer.decode(rendered)).rstrip().endswith(reasoning.OPEN)

    def token_of(self, token: int) -> str:
        """The vocabulary's own form of a token."""
        return str(self._tokenizer.convert_ids_to_tokens(token))

    async def of_text(self, text: str) -> list[int]:
        """The tokens of a text as it stands."""
        return await self._beside(lambda: list(self._tokenizer.encode(text)))

    async def of_chat(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[int]:
        """The tokens of a conversation, up to where its answer begins.

        Raises:
            InvalidArgument: the model's template does not take this conversation.
        """
        return await self._beside(lambda: self._render(messages, tools))

    async def _beside(self, work: Any) -> list[int]:
        tokens: list[int] = await asyncio.get_running_loop().run_in_executor(self._thread, work)
        return tokens

    def _render(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[int]:
        try:
            text = self._tokenizer.apply_chat_template(
                [_templated(message) for message in messages],
                tools=[tool_body(tool) for tool in tools] or None,
                add_generation_prompt=True,
                tokenize=False,
            )
        except TemplateError as error:
            raise InvalidArgument.of_field(
                "messages", f"are not what the model's chat template takes ({error}); mend them"
            ) from error
        # The template has the special tokens in it.
        return list(self._tokenizer.encode(text, add_special_tokens=False))


def sampling_params(
    sampling: Sampling, max_tokens: int, defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """The sampling in vLLM's words.

    Args:
        sampling: what is asked.
        max_tokens: most tokens of each choice.
        defaults: of the model, for what is not asked.
    """
    given = {name: getattr(sampling, name) for name in _SAME}
    return {
        **defaults,
        **{name: value for name, value in given.items() if value is not None},
        "max_tokens": max_tokens,
        "n": sampling.n,
        "stop": list(sampling.stop),
        "ignore_eos": sampling.ignore_eos,
        "logit_bias": dict(sampling.logit_bias) or None,
    }


def engine_params(
    sampling: Sampling,
    max_tokens: int,
    defaults: Mapping[str, Any],
    constraint: dict[str, Any] | None,
    *,
    keep_tags: bool,
) -> Any:
    """The parameters of a request in vLLM's own form.

    Args:
        sampling: what is asked.
        max_tokens: most tokens of each choice.
        defaults: of the model, for what is not asked.
        constraint: of the form of the answer.
        keep_tags: whether special tokens stay in the text.

    Raises:
        InvalidArgument: vLLM does not take them.
    """
    from vllm import SamplingParams  # noqa: PLC0415  # as in `vllm_launch`
    from vllm.exceptions import VLLMClientError  # noqa: PLC0415
    from vllm.sampling_params import (  # noqa: PLC0415
        RequestOutputKind,
        StructuredOutputsParams,
    )

    try:
        return SamplingParams(
            **sampling_params(sampling, max_tokens, defaults),
            output_kind=RequestOutputKind.DELTA,
            skip_special_tokens=not keep_tags,
            structured_outputs=StructuredOutputsParams(**constraint) if constraint else None,
        )
    except VLLMClientError as error:
        raise vllm_errors.refused(error) from error


def most_tokens(sampling: Sampling, prompt_tokens: int, context: int, field: str) -> int:
    """How many tokens a choice may have.

    Args:
        sampling: what is asked.
        prompt_tokens: of the prompt.
        context: most tokens of prompt and answer together.
        field: what the request calls the prompt.

    Raises:
        InvalidArgument: the context has no room for that; the message gives the numbers.
    """
    room = context - prompt_tokens
    if room < 1:
        raise _too_long(
            field, f"has {prompt_tokens} tokens and the context has {context}; send less"
        )
    if sampling.max_tokens is not None and sampling.max_tokens > room:
        raise _too_long(
            "sampling.max_tokens",
            f"is {sampling.max_tokens}; the prompt has {prompt_tokens} tokens of the {context} of "
            f"the context, so send {room} at most",
        )
    if sampling.min_tokens is not None and sampling.min_tokens > room:
        raise InvalidArgument.of_field(
            "sampling.min_tokens", f"is {sampling.min_tokens}; there is room for {room}"
        )
    return room if sampling.max_tokens is None else sampling.max_tokens


def _too_long(field: str, description: str) -> InvalidArgument:
    return InvalidArgument(
        f"{field} {description}",
        reason="CONTEXT_LENGTH_EXCEEDED",
        violations=[FieldViolation(field, description)],
    )


def _templated(message: Message) -> dict[str, Any]:
    """A message for a template, which writes the arguments of calls as JSON itself."""
    body = message_body(message)
    for call in body.get("tool_calls", ()):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return body
