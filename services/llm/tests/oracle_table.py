"""What the service and vLLM's own server are both asked, in the words of the latter.

Everything is asked at temperature 0, but where a row says otherwise: then the likeliest token is
the only one that may be taken, or a seed decides. What both refuse is marked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

CONTEXT_TOKENS: Final = 2048


@dataclass(frozen=True)
class Row:
    """One request.

    Attributes:
        name: of the row.
        body: of the request, less model and temperature where they are the usual ones.
        chat: whether it is a chat, else a completion.
        differs: aspects that are not compared, each with the reason.
        refused: whether the service refuses it; so does the server, unless `refusal` differs.
    """

    name: str
    body: Mapping[str, Any]
    chat: bool = True
    differs: Mapping[str, str] = field(default_factory=dict)
    refused: bool = False


WEATHER: Final = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "unit": {"enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city", "unit"],
    "additionalProperties": False,
}
SEARCH: Final = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "maxLength": 30},
        "limit": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["query", "limit"],
    "additionalProperties": False,
}
PERSON: Final = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "colour": {"enum": ["red", "blue"]},
    },
    "required": ["name", "age", "colour"],
    "additionalProperties": False,
}
ORDER: Final = {
    "type": "object",
    "properties": {
        "items": {
            "type": "array",
            "minItems": 2,
            "maxItems": 2,
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "maxLength": 12},
                    "count": {"type": "integer", "minimum": 1, "maximum": 9},
                },
                "required": ["name", "count"],
                "additionalProperties": False,
            },
        },
        "paid": {"type": "boolean"},
    },
    "required": ["items", "paid"],
    "additionalProperties": False,
}


def _tool(name: str, description: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


_WEATHER: Final = _tool("get_weather", "The weather of a city.", WEATHER)
_SEARCH: Final = _tool("search", "Searches the web.", SEARCH)
_NOTHING: Final = {"type": "object", "properties": {}, "additionalProperties": False}
_TIME: Final = _tool("get_time", "The time of day.", _NOTHING)


def _says(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def _call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _chat(name: str, said: str | Sequence[Mapping[str, Any]], tokens: int, **more: Any) -> Row:
    differs, refused = more.pop("differs", {}), more.pop("refused", False)
    messages = [_says("user", said)] if isinstance(said, str) else list(said)
    body = {"messages": messages, "max_tokens": tokens, **more}
    return Row(name, body, differs=differs, refused=refused)


def _text(name: str, prompt: str | Sequence[int], tokens: int, **more: Any) -> Row:
    differs = more.pop("differs", {})
    body = {"prompt": prompt, "max_tokens": tokens, **more}
    return Row(name, body, chat=False, differs=differs)


def _named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def _schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


# vLLM refuses several choices at temperature 0; this takes the likeliest token too.
_LIKELIEST: Final = {"temperature": 1.0, "top_k": 1}
_STORY: Final = "There once was a fox who lived beside a river and counted the fish in it. "
_COUNT: Final = "Count from 1 to 9, with commas between."
_NAMED_STOPS: Final = {
    "reasons": "vLLM's server ends the call of a named tool with `stop`, as OpenAI's does; here "
    "whatever calls a tool ends with `tool_calls`, as the contract says"
}

CHATS: Final = (
    _chat("a question", "What is the capital of France?", 24),
    _chat("a question of code", "Write a Python function that reverses a list.", 40),
    _chat("one that ends by itself", "Say hello in French, in one word.", 200),
    Row("no limit of tokens", {"messages": [_says("user", "Say yes.")]}),
    _chat("one token", "Say hello.", 1),
    _chat(
        "a system prompt",
        [_says("system", "You answer in German."), _says("user", "What colour is the sky?")],
        24,
    ),
    _chat(
        "an empty system prompt",
        [_says("system", ""), _says("user", "What colour is the sky?")],
        16,
    ),
    _chat("a system prompt alone", [_says("system", "Say a number.")], 12),
    _chat(
        "two system prompts",
        [
            _says("system", "You are terse."),
            _says("user", "Hello."),
            _says("system", "You speak French."),
            _says("user", "Name a fruit."),
        ],
        16,
    ),
    _chat(
        "several turns",
        [
            _says("user", "My name is Ada."),
            _says("assistant", "Hello Ada."),
            _says("user", "What is my name?"),
        ],
        16,
    ),
    _chat("forty turns", [_says("user", f"Number {n}?") for n in range(40)], 12),
    _chat("the assistant speaks last", [_says("user", "Hi."), _says("assistant", "Well,")], 12),
    _chat("empty content", "", 16),
    _chat(
        "empty content of the assistant",
        [_says("user", "Hi."), _says("assistant", ""), _says("user", "Still there?")],
        16,
    ),
    _chat("a name", [_says("user", "Who am I?", name="ada")], 16),
    _chat(
        "one part of content",
        [_says("user", [{"type": "text", "text": "Say hello."}])],
        12,
    ),
    _chat(
        "two parts of content",
        [_says("user", [{"type": "text", "text": "Say "}, {"type": "text", "text": "hello."}])],
        12,
        differs={
            "prompt_tokens": "vLLM's server puts a line break between parts, which changes the "
            "words of who splits a text; here parts are joined as they are",
        },
    ),
    _chat("Chinese", "用中文介绍一下北京。", 24),
    _chat("emoji", "Answer with emoji only: a cat, a dog, a rocket 🚀", 16),
    _chat("from right to left", "ما هي عاصمة مصر؟", 24),
    _chat("joined characters", "What is this: 👩‍👩‍👧‍👦 é ñ ﬁ \u200d?", 16),
    _chat("white space", "\tOne\r\n\r\n  two \u00a0three\n", 16),
    _chat("special tokens in the content", "Repeat: <|im_end|><|im_start|>system", 16),
    _chat("a long prompt", _STORY * 80 + "What did the fox count?", 16),
    _chat("a prompt that leaves little room", "word " * 2000, 18),
    Row(
        "the end of the context",
        {"messages": [_says("user", "word " * 2000)], "ignore_eos": True},
    ),
    _chat("beyond the context", "word " * 2100, 8, refused=True),
    _chat(
        "more tokens than there is room for",
        "Say hello.",
        2048,
        refused=True,
        differs={"refusal": "vLLM takes what room there is; OpenAI refuses, and so does the mesh"},
    ),
    _chat("a stop", _COUNT, 40, stop=["4"]),
    _chat("one stop, not a list", _COUNT, 40, stop="5"),
    _chat("several stops", _COUNT, 40, stop=["9", "6", "z"]),
    _chat("a stop over several tokens", _COUNT, 40, stop=["3, 4"]),
    _chat("a stop that never comes", _COUNT, 16, stop=["zebra"]),
    _chat("a stop at once", "What is the capital of France?", 16, stop=["The"]),
    _chat("a stop that is no ASCII", "用中文介绍一下北京。", 40, stop=["的"]),
    _chat("past the end", "Say yes.", 24, ignore_eos=True),
    _chat("fewest tokens", "Say yes.", 24, min_tokens=12),
    _chat("a presence penalty", _COUNT, 32, presence_penalty=1.5),
    _chat("a frequency penalty", _COUNT, 32, frequency_penalty=1.2),
    _chat("a repetition penalty", _COUNT, 32, repetition_penalty=1.3),
    _chat("all penalties", _COUNT, 32, presence_penalty=-0.5, frequency_penalty=0.7, seed=3),
    _chat("a token forbidden", "What is the capital of France?", 16, logit_bias={"785": -100}),
    _chat("a token wanted", "What is the capital of France?", 8, logit_bias={"12095": 8.5}),
    _chat("a seed", "Make a name up.", 16, seed=7),
    _chat("a seed that decides", "Make a name up.", 16, seed=7, temperature=0.8),
    _chat("a seed for three", "Make a name up.", 12, seed=11, temperature=1.0, n=3),
    _chat("one likeliest token", "Make a name up.", 16, temperature=1.0, top_k=1),
    _chat("a small nucleus", "Make a name up.", 16, temperature=1.0, top_p=0.001),
    _chat("a high floor", "Make a name up.", 16, temperature=1.0, min_p=1.0),
    _chat("two choices", "Say hello.", 12, n=2, **_LIKELIEST),
    _chat("two choices at temperature 0", "Say hello.", 12, n=2, refused=True),
    _chat("four choices with a stop", _COUNT, 24, n=4, stop=["5"], **_LIKELIEST),
    _chat("logprobs of the chosen", "Say hello.", 8, logprobs=True, top_logprobs=0),
    _chat("logprobs of five", "What is 2 + 2?", 8, logprobs=True, top_logprobs=5),
    _chat("logprobs of characters in pieces", "Say 🦊🦝.", 8, logprobs=True, top_logprobs=2),
    _chat(
        "logprobs of two choices", "Say hello.", 6, logprobs=True, top_logprobs=1, n=2, **_LIKELIEST
    ),
)
FORMS: Final = (
    _chat("a schema", "Make a person up.", 80, response_format=_schema(PERSON)),
    _chat("a nested schema", "An order of fruit.", 120, response_format=_schema(ORDER)),
    _chat("a schema cut short", "Make a person up.", 8, response_format=_schema(PERSON)),
    _chat(
        "a schema that is no ASCII",
        "Which one?",
        24,
        response_format=_schema({"enum": ["größe", "北京", "naïve"]}),
    ),
    _chat(
        "a schema with a stop",
        "Make a person up.",
        80,
        response_format=_schema(PERSON),
        stop=["age"],
    ),
    _chat(
        "any object", "Say hello as JSON.", 40, response_format={"type": "json_object"}, stop=["}"]
    ),
    _chat("an expression", "A code?", 24, structured_outputs={"regex": "[A-Z]{3}-[0-9]{4}"}),
    _chat(
        "an expression of Chinese", "Say.", 24, structured_outputs={"regex": "(北京|上海)[。、]"}
    ),
    _chat("a choice", "Is fire hot?", 12, structured_outputs={"choice": ["hot", "cold", "both"]}),
    _chat(
        "a grammar",
        "Add two numbers.",
        24,
        structured_outputs={"grammar": 'root ::= [1-9] " + " [1-9] " = " [0-9]+'},
    ),
    _chat(
        "two choices of a form",
        "A code?",
        24,
        structured_outputs={"regex": "[a-f]{6}"},
        n=2,
        **_LIKELIEST,
    ),
)
TOOLS: Final = (
    _chat(
        "tools, left to the model", "Weather in Paris?", 40, tools=[_WEATHER], tool_choice="auto"
    ),
    _chat("tools and none called", "Say hello.", 12, tools=[_WEATHER, _TIME], tool_choice="none"),
    _chat("tools and no choice said", "Say hello.", 16, tools=[_WEATHER]),
    _chat("a call required", "Weather in Paris?", 80, tools=[_WEATHER], tool_choice="required"),
    _chat(
        "a call of two tools required",
        "Search for foxes.",
        80,
        tools=[_WEATHER, _SEARCH],
        tool_choice="required",
    ),
    _chat(
        "one call alone",
        "The weather in Paris and in Rome?",
        120,
        tools=[_WEATHER],
        tool_choice="required",
        parallel_tool_calls=False,
    ),
    _chat(
        "a named tool",
        "Weather in Rome?",
        80,
        tools=[_WEATHER, _SEARCH],
        tool_choice=_named("get_weather"),
        differs=_NAMED_STOPS,
    ),
    _chat(
        "a named tool without arguments",
        "Weather in Rome?",
        80,
        tools=[_WEATHER, _TIME],
        tool_choice=_named("get_time"),
        differs=_NAMED_STOPS,
    ),
    _chat("a call cut short", "Weather in Paris?", 12, tools=[_WEATHER], tool_choice="required"),
    _chat(
        "two choices of a call",
        "Weather in Paris?",
        80,
        tools=[_WEATHER],
        tool_choice="required",
        n=2,
        **_LIKELIEST,
    ),
    _chat(
        "a call and its result",
        [
            _says("user", "The weather in Paris, in one word?"),
            _says("assistant", None, tool_calls=[_call("c-1", "get_weather", '{"city": "Paris"}')]),
            _says("tool", "It is snowing.", tool_call_id="c-1"),
        ],
        16,
        tools=[_WEATHER],
        tool_choice="none",
    ),
    _chat(
        "two calls and their results",
        [
            _says("user", "Which of Paris and Rome is warmer?"),
            _says(
                "assistant",
                "I look.",
                tool_calls=[
                    _call("c-1", "get_weather", '{"city": "Paris", "unit": "celsius"}'),
                    _call("c-2", "get_weather", '{"unit": "celsius", "city": "Rome \\u00e9"}'),
                ],
            ),
            _says("tool", "3", tool_call_id="c-1"),
            _says("tool", "18", tool_call_id="c-2"),
        ],
        24,
        tools=[_WEATHER],
        tool_choice="none",
    ),
)
COMPLETIONS: Final = (
    _text("code", "def add(a, b):\n    return a", 12),
    _text("prose", "The capital of France is", 12),
    _text("a completion of Chinese", "北京是", 16),
    _text("a completion of one token", "The", 1),
    _text("tokens in place of text", [785, 6722, 315, 9625, 374], 12),
    _text("one token in place of text", [785], 8),
    _text("special tokens", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", 12),
    _text("a long text", _STORY * 80, 12),
    _text("a completion with a stop", "1, 2, 3,", 24, stop=["6"]),
    _text("a completion of three", "1, 2, 3,", 8, n=3, **_LIKELIEST),
    _text("a completion with logprobs", "1, 2, 3,", 6, logprobs=3),
    _text("a completion with a seed", "Once", 16, seed=5, temperature=0.9),
    _text("a completion with a penalty", "la la la la", 16, repetition_penalty=1.4),
    _text("a completion of a schema", "A person: ", 80, structured_outputs={"json": PERSON}),
    _text("a completion of an expression", "Call ", 16, structured_outputs={"regex": "[0-9]{6}"}),
    _text("a completion of a choice", "Fire is ", 8, structured_outputs={"choice": ["hot", "wet"]}),
    _text(
        "a completion of a grammar", "Say ", 8, structured_outputs={"grammar": 'root ::= "a"+ "b"'}
    ),
)
ROWS: Final = (*CHATS, *FORMS, *TOOLS, *COMPLETIONS)
