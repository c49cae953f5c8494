"""Requests of OpenAI's API as those of mesh.llm.v1.

Parameters that make no sense together are refused here. What may be wrong with values, the model's
service says, and `param_of` and `chat_params` name the parameters as the caller knows them.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final, Literal

from mesh.llm.v1 import llm_pb2
from mesh_gateway.openai import decoding, params, requests, tools
from mesh_gateway.openai.decoding import refusal
from mesh_gateway.openai.parameters import CHAT, COMPLETIONS, Refusals
from mesh_gateway.openai.params import ParamOf

_chat_refusals: Final = Refusals(CHAT)
_completion_refusals: Final = Refusals(COMPLETIONS)
# What OpenAI's API generates of a completion where the caller does not say.
_COMPLETION_TOKENS: Final = 16
_DATA_URL: Final = re.compile(r"data:([\w.+/-]*);base64,", re.ASCII)
# Fields of the llm's requests, by the beginnings of their paths, as this API calls them.
_PARAMS: Final = (
    (re.compile(r"^sampling\."), ""),
    (re.compile(r"^structured_output\.json_schema$"), "structured_outputs.json"),
    (re.compile(r"^structured_output\b"), "structured_outputs"),
    (re.compile(r"^tool_choice\..*"), "tool_choice"),
    (re.compile(r"^(tools\[\d+\])\.(\w+)$"), r"\1.function.\2"),
    (re.compile(r"^(messages\[\d+\]\.tool_calls\[\d+\])\.(name|arguments)$"), r"\1.function.\2"),
    (re.compile(r"^(text|token_ids)$"), "prompt"),
)
_FORMAT_PARAMS: Final = ((re.compile(r"^structured_output\b.*"), "response_format"), *_PARAMS)


def chat(request: requests.ChatCompletionRequest) -> llm_pb2.ChatRequest:
    """What a chat completion asks of the llm; the model is still to be named.

    Raises:
        InvalidArgument: a parameter is not supported, or does not go with another one.
    """
    _chat_refusals.check(request)
    _check_stream_options(request)
    message = llm_pb2.ChatRequest(
        messages=[_message(each, index) for index, each in enumerate(request.messages)],
        sampling=_sampling(request),
        tools=[
            tools.tool(each.function, f"tools[{index}].function")
            for index, each in enumerate(request.tools or ())
        ],
    )
    _set_most_tokens(message.sampling, request)
    if request.logprobs:
        message.sampling.logprobs = request.top_logprobs or 0
    elif request.top_logprobs is not None:
        raise refusal("top_logprobs", "needs logprobs; send logprobs: true", "INVALID_ARGUMENT")
    tools.choose(message, _tool_choice(request.tool_choice), request.parallel_tool_calls)
    _set_form(message.structured_output, request)
    return message


def completions(request: requests.CompletionRequest) -> list[llm_pb2.CompleteRequest]:
    """What a completion asks of the llm, for each of its prompts; as `chat`."""
    _completion_refusals.check(request)
    _check_stream_options(request)
    sampling = _sampling(request)
    sampling.max_tokens = request.max_tokens or _COMPLETION_TOKENS
    if request.logprobs is not None:
        sampling.logprobs = request.logprobs
    form = llm_pb2.StructuredOutput()
    _set_structured_outputs(form, request.structured_outputs)
    return [
        _completion(prompt, sampling, form if form.WhichOneof("format") else None)
        for prompt in inputs(request.prompt, "prompt")
    ]


def _completion(
    prompt: str | Sequence[int],
    sampling: llm_pb2.Sampling,
    form: llm_pb2.StructuredOutput | None,
) -> llm_pb2.CompleteRequest:
    message = llm_pb2.CompleteRequest(sampling=sampling, structured_output=form)
    if isinstance(prompt, str):
        message.text = prompt
    else:
        message.token_ids.ids.extend(prompt)
    return message


def inputs(
    given: str | Sequence[str | int | Sequence[int]], field: str
) -> Iterator[str | Sequence[int]]:
    """The texts, or lists of token ids, that a parameter holds: one, or several in a list.

    Raises:
        InvalidArgument: there are several kinds.
    """
    if isinstance(given, str):
        yield given
        return
    if all(isinstance(each, int) for each in given):
        yield [each for each in given if isinstance(each, int)]
        return
    kind = str if isinstance(given[0], str) else list
    for index, each in enumerate(given):
        if isinstance(each, int) or not isinstance(each, kind):
            raise refusal(
                f"{field}[{index}]",
                "is of another kind than the first; send texts, or lists of token ids, alone",
                "INVALID_TYPE",
            )
        yield each


def param_of(field: str) -> str:
    """The parameter that a field of the llm's requests was made of."""
    return params.renamed(field, _PARAMS)


def chat_params(request: requests.ChatCompletionRequest) -> ParamOf:
    """As `param_of`, for a chat: there are two parameters for the form of its answer."""
    renamings = _FORMAT_PARAMS if request.structured_outputs is None else _PARAMS
    return partial(params.renamed, renamings=renamings)


def _check_stream_options(request: requests.Sampled) -> None:
    if request.stream_options is not None and not request.stream:
        raise refusal("stream_options", "needs stream; send stream: true", "INVALID_ARGUMENT")


def _message(message: requests.Message, index: int) -> llm_pb2.Message:
    field = f"messages[{index}]"
    content = _content(message.content, field)
    calls: Sequence[requests.PastCall] = ()
    answered = ""
    match message:
        case requests.SystemMessage() | requests.DeveloperMessage():
            role = llm_pb2.ROLE_SYSTEM
        case requests.UserMessage():
            role = llm_pb2.ROLE_USER
        case requests.AssistantMessage():
            role, calls = llm_pb2.ROLE_ASSISTANT, message.tool_calls or ()
            if message.content is None and not calls:
                raise refusal(
                    f"{field}.content",
                    "is missing, and so are tool_calls; send one of the two",
                    "MISSING_REQUIRED_PARAMETER",
                )
        case requests.ToolMessage():
            role, answered = llm_pb2.ROLE_TOOL, message.tool_call_id
    return llm_pb2.Message(
        role=role,
        content=content,
        name=message.name or "",
        tool_calls=_past_calls(calls),
        tool_call_id=answered,
    )


def _past_calls(calls: Iterable[requests.PastCall]) -> list[llm_pb2.ToolCall]:
    return [
        llm_pb2.ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
        for call in calls
    ]


def _content(
    content: str | Sequence[requests.TextPart | requests.ImagePart | requests.RefusalPart] | None,
    field: str,
) -> list[llm_pb2.ContentPart]:
    if content is None:
        return []
    if isinstance(content, str):
        return [llm_pb2.ContentPart(text=content)]
    return [_part(part, f"{field}.content[{index}]") for index, part in enumerate(content)]


def _part(
    part: requests.TextPart | requests.ImagePart | requests.RefusalPart, field: str
) -> llm_pb2.ContentPart:
    match part:
        case requests.TextPart():
            return llm_pb2.ContentPart(text=part.text)
        case requests.RefusalPart():
            return llm_pb2.ContentPart(text=part.refusal)
        case requests.ImagePart():
            return llm_pb2.ContentPart(image=_image(part.image_url.url, f"{field}.image_url.url"))


def _image(url: str, field: str) -> llm_pb2.Image:
    match = _DATA_URL.match(url)
    if match is None:
        return llm_pb2.Image(uri=url)
    try:
        data = base64.b64decode(url[match.end() :], validate=True)
    except binascii.Error:
        raise refusal(field, "is no base64; send a data URL with base64", "INVALID_VALUE") from None
    return llm_pb2.Image(data=data, media_type=match[1])


def _sampling(request: requests.Sampled) -> llm_pb2.Sampling:
    stop = request.stop
    return llm_pb2.Sampling(
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        min_p=request.min_p,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        repetition_penalty=request.repetition_penalty,
        stop=[stop] if isinstance(stop, str) else stop,
        seed=request.seed,
        n=request.n,
        logit_bias=request.logit_bias,
        min_tokens=request.min_tokens,
        ignore_eos=bool(request.ignore_eos),
    )


def _set_most_tokens(sampling: llm_pb2.Sampling, request: requests.ChatCompletionRequest) -> None:
    most, older = request.max_completion_tokens, request.max_tokens
    if most is not None and older is not None:
        raise refusal(
            "max_tokens",
            "is the older name of max_completion_tokens; send one of the two",
            "INVALID_PARAMETER_COMBINATION",
        )
    given = older if most is None else most
    if given is not None:
        sampling.max_tokens = given


def _tool_choice(
    choice: Literal["auto", "none", "required"] | requests.NamedTool | None,
) -> llm_pb2.ToolChoice | None:
    if isinstance(choice, requests.NamedTool):
        return tools.named(choice.function.name)
    return None if choice is None else tools.MODES[choice]


def _set_form(form: llm_pb2.StructuredOutput, request: requests.ChatCompletionRequest) -> None:
    match request.response_format:
        case requests.JsonObjectFormat():
            form.json_object.SetInParent()
        case requests.JsonSchemaFormat(json_schema):
            schema = decoding.schema_of(json_schema.schema, "response_format.json_schema.schema")
            form.json_schema = schema or "{}"
    if request.structured_outputs is not None and form.WhichOneof("format"):
        raise refusal(
            "structured_outputs", "stands beside response_format; send one", "INVALID_ARGUMENT"
        )
    _set_structured_outputs(form, request.structured_outputs)


def _set_structured_outputs(
    form: llm_pb2.StructuredOutput, wanted: requests.StructuredOutputs | None
) -> None:
    if wanted is None:
        return
    schema = decoding.schema_of(wanted.json, "structured_outputs.json")
    given = [schema, wanted.regex, wanted.choice, wanted.grammar]
    if sum(bool(each) for each in given) != 1:
        raise refusal(
            "structured_outputs",
            "must have one of json, regex, choice and grammar; send one",
            "INVALID_ARGUMENT",
        )
    if schema:
        form.json_schema = schema
    elif wanted.regex:
        form.regex = wanted.regex
    elif wanted.choice:
        form.choice.texts.extend(wanted.choice)
    elif wanted.grammar:
        form.grammar = wanted.grammar
