"""What becomes of each parameter of OpenAI's API: the source of the tables in docs/openai.md."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from mesh_gateway.openai.decoding import refusal


class Treatment(enum.StrEnum):
    """What becomes of a parameter."""

    TAKEN = "taken"
    IGNORED = "ignored"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a route.

    Attributes:
        name: in the body.
        treatment: what becomes of it.
        note: the rest, for people.
        passes: values that are no reason to refuse it, as JSON; null always is one.
    """

    name: str
    treatment: Treatment
    note: str
    passes: tuple[Any, ...] = ()


def _taken(name: str, note: str) -> Parameter:
    return Parameter(name, Treatment.TAKEN, note)


def _ignored(name: str, note: str) -> Parameter:
    return Parameter(name, Treatment.IGNORED, note)


def _refused(name: str, note: str, *passes: Any) -> Parameter:
    return Parameter(name, Treatment.REFUSED, note, passes)


_SAMPLING: Final = (
    _taken("model", "One of `GET /v1/models`. Required."),
    _taken("temperature", "0 to 2."),
    _taken("top_p", "Above 0, up to 1."),
    _taken("n", "1 to as many choices as the model's service allows."),
    _taken("stop", "A text, or up to 16 of them."),
    _taken("presence_penalty", "-2 to 2."),
    _taken("frequency_penalty", "-2 to 2."),
    _taken("logit_bias", "Token ids with -100 to 100 each; up to 1,024 of them."),
    _taken("seed", "The same seed and request give the same choice on the same deployment."),
    _taken("stream", "Server-sent events, ended by `data: [DONE]`."),
    _taken(
        "stream_options",
        "`include_usage`: every chunk has `usage`, null but in one more chunk at the end. Only "
        "with `stream`. `include_obfuscation` is ignored.",
    ),
    _ignored("user", "Never logged or passed on; limits and usage go by key and tenant."),
    _taken("top_k", "Not OpenAI's. Only so many of the likeliest tokens; 0 is all."),
    _taken("min_p", "Not OpenAI's. 0 to 1."),
    _taken("repetition_penalty", "Not OpenAI's. Above 0, up to 2."),
    _taken("min_tokens", "Not OpenAI's. Fewest tokens of each choice."),
    _taken("ignore_eos", "Not OpenAI's. Goes on past the model's end, for measurements."),
    _taken(
        "structured_outputs",
        "Not OpenAI's. One of `json` (a schema), `regex`, `choice` (a list of texts), `grammar`.",
    ),
)
CHAT: Final[Sequence[Parameter]] = (
    _taken(
        "messages",
        "Roles `system`, `developer` (as `system`), `user`, `assistant`, `tool`; content as text "
        "or as parts of text. Pictures are passed on, and refused where the model reads text "
        "alone. Required.",
    ),
    *_SAMPLING,
    _taken("max_completion_tokens", "1 at least; absent, as many as the context has room for."),
    _taken("max_tokens", "The older name of it; not together with it."),
    _taken("logprobs", "With it each token's log probability comes."),
    _taken("top_logprobs", "0 to 20; only with `logprobs`."),
    _taken("tools", "Functions, up to 128. `strict` is ignored: forced calls fit always."),
    _taken("tool_choice", "`auto`, `none`, `required`, or a function by name; only with `tools`."),
    _taken("parallel_tool_calls", "Only with `tools`."),
    _taken(
        "response_format",
        "`text`, `json_object`, `json_schema`. The answer fits the schema whether or not `strict` "
        "is set.",
    ),
    _ignored("metadata", "Nothing is stored."),
    _ignored("safety_identifier", "As `user`."),
    _ignored("prompt_cache_key", "Prefixes are shared by what they hold."),
    _ignored("prompt_cache_retention", "The engine decides."),
    _ignored("prompt_cache_options", "The engine decides."),
    _ignored("reasoning_effort", "The model thinks as it was trained to."),
    _ignored("verbosity", "The model answers as it was trained to."),
    _ignored("service_tier", "There is one."),
    _refused("store", "Nothing is stored.", False),
    _refused("modalities", "Answers are text.", ["text"]),
    _refused("audio", "Answers are text."),
    _refused("prediction", "There is no speculation on what the caller expects."),
    _refused("moderation", "Nothing is moderated."),
    _refused("web_search_options", "There is no web search."),
    _refused("functions", "Send `tools`."),
    _refused("function_call", "Send `tool_choice`."),
)
RESPONSES: Final[Sequence[Parameter]] = (
    _taken("model", "One of `GET /v1/models`. Required."),
    _taken(
        "input",
        "A text, or items: messages of the roles `user`, `assistant`, `system`, `developer` (as "
        "`system`) with a text or with parts of it (`input_text`, `output_text`, `refusal`), "
        "`function_call`, `function_call_output`. Items of `reasoning` are passed over. Neither "
        "pictures nor files. Required.",
    ),
    _taken("instructions", "A message of the role `system` before all others."),
    _taken("max_output_tokens", "1 at least; absent, as many as the context has room for."),
    _taken("temperature", "0 to 2."),
    _taken("top_p", "Above 0, up to 1."),
    _taken(
        "text",
        "`format` is `text`, `json_object` or `json_schema`. The answer fits the schema whether or "
        "not `strict` is set. `verbosity` is ignored.",
    ),
    _taken(
        "tools",
        "Functions, up to 128; there are no hosted tools. `strict` is ignored: forced calls fit "
        "always.",
    ),
    _taken("tool_choice", "`auto`, `none`, `required`, or a function by name; only with `tools`."),
    _taken("parallel_tool_calls", "Only with `tools`."),
    _taken(
        "include",
        "`message.output_text.logprobs`: with it each token's log probability comes. "
        "`reasoning.encrypted_content` is ignored.",
    ),
    _taken("top_logprobs", "0 to 20; above 0 log probabilities come without `include`, too."),
    _taken("stream", "Server-sent events, each with its name; the last one has the response."),
    _taken("metadata", "Texts by their names; stands in the answer again."),
    _ignored("store", "Nothing is stored, and the answer says `store: false`."),
    _ignored("stream_options", "Usage always comes, and there is no obfuscation."),
    _ignored("user", "Never logged or passed on; limits and usage go by key and tenant."),
    _ignored("safety_identifier", "As `user`."),
    _ignored("prompt_cache_key", "Prefixes are shared by what they hold."),
    _ignored("prompt_cache_retention", "The engine decides."),
    _ignored("prompt_cache_options", "The engine decides."),
    _ignored("reasoning", "The model thinks as it was trained to."),
    _ignored("max_tool_calls", "It counts calls of hosted tools."),
    _ignored("service_tier", "There is one."),
    _refused("previous_response_id", "Nothing is stored: send the whole conversation as `input`."),
    _refused("conversation", "Nothing is stored: send the whole conversation as `input`."),
    _refused("background", "Nothing goes on without its caller: send `stream` and read.", False),
    _refused("truncation", "Nothing is left out of a conversation unasked.", "disabled"),
    _refused("context_management", "Nothing is left out of a conversation unasked."),
    _refused("prompt", "There are no stored prompts: send `instructions` and `input`."),
    _refused("moderation", "Nothing is moderated."),
)
COMPLETIONS: Final[Sequence[Parameter]] = (
    _taken("prompt", "A text, or token ids; one, or a list of them. Required."),
    *_SAMPLING,
    _taken("max_tokens", "1 at least; absent, 16, as OpenAI has it."),
    _taken("logprobs", "0 to 5: so many of the likeliest tokens beside each one."),
    _refused("best_of", "Send `n` and choose.", 1),
    _refused("echo", "The prompt is at hand.", False),
    _refused("suffix", "There is no filling in.", ""),
)
EMBEDDINGS: Final[Sequence[Parameter]] = (
    _taken("model", "The embedder's name, as `GET /v1/models` lists it. Required."),
    _taken(
        "input", "A text, a list of texts, token ids, or a list of lists of token ids. Required."
    ),
    _taken("encoding_format", "`float` or `base64` (little-endian float32)."),
    _taken("dimensions", "One of those that the model allows."),
    _ignored("user", "Never logged or passed on; limits and usage go by key and tenant."),
)


class Refusals:
    """Refuses parameters that are not supported.

    Args:
        parameters: of the route.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self._passes = {
            each.name: (each, (None, *each.passes))
            for each in parameters
            if each.treatment is Treatment.REFUSED
        }

    def check(self, request: msgspec.Struct) -> None:
        """Refuses a request that asks for what there is not.

        Raises:
            InvalidArgument: names the parameter.
        """
        for name, (parameter, passes) in self._passes.items():
            raw: msgspec.Raw | msgspec.UnsetType = getattr(request, name)
            if raw is msgspec.UNSET:
                continue
            if msgspec.json.decode(bytes(raw)) not in passes:
                raise refusal(
                    name,
                    f"is not supported here; leave it out. {parameter.note}",
                    "UNSUPPORTED_PARAMETER",
                )


def table(parameters: Sequence[Parameter]) -> str:
    """A Markdown table of them."""
    rows = ["| parameter | here | |", "| --- | --- | --- |"]
    for each in parameters:
        passes = [f"`{msgspec.json.encode(value).decode()}`" for value in each.passes]
        unless = f", unless {' or '.join(passes)}" if passes else ""
        rows.append(f"| `{each.name}` | {each.treatment}{unless} | {each.note} |")
    return "\n".join(rows) + "\n"
