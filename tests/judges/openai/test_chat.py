"""Chat completions, whole and as streams, as the official client has them."""

from openai import AsyncOpenAI, OpenAI
from openai.types.chat import (
    ChatCompletionFunctionToolParam,
    ChatCompletionMessageFunctionToolCall,
    ChatCompletionMessageParam,
)

MODEL = "llm"
WEATHER: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def user(text: str) -> list[ChatCompletionMessageParam]:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


def test_an_answer_is_whole(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=user("say It is 19 degrees."))
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == MODEL
    (choice,) = answer.choices
    assert (choice.index, choice.finish_reason) == (0, "stop")
    assert (choice.message.role, choice.message.content) == ("assistant", "It is 19 degrees.")
    assert choice.message.tool_calls is None
    assert choice.logprobs is None
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 4)
    assert answer.usage.total_tokens == 9


async def test_the_asynchronous_client_says_the_same(asynchronous: AsyncOpenAI) -> None:
    answer = await asynchronous.chat.completions.create(model=MODEL, messages=user("say Hello."))
    assert answer.choices[0].message.content == "Hello."
    stream = await asynchronous.chat.completions.create(
        model=MODEL, messages=user("say Hello you."), stream=True
    )
    pieces = [chunk.choices[0].delta.content async for chunk in stream]
    assert [each for each in pieces if each] == ["Hello ", "you."]


def test_a_stream_begins_with_the_role_and_ends_with_the_reason(client: OpenAI) -> None:
    with client.chat.completions.create(
        model=MODEL, messages=user("say one two three"), stream=True
    ) as stream:
        chunks = list(stream)
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[0].choices[0].delta.content == ""
    assert [chunk.choices[0].delta.content for chunk in chunks[1:-1]] == ["one ", "two ", "three"]
    assert chunks[-1].choices[0].delta.model_dump(exclude_unset=True) == {}
    reasons = [chunk.choices[0].finish_reason for chunk in chunks]
    assert reasons == [None] * (len(chunks) - 1) + ["stop"]
    assert "usage" not in chunks[-1].model_fields_set


def test_usage_comes_in_a_chunk_of_its_own(client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model=MODEL,
            messages=user("say one two"),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *others, last = chunks
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in others)
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (3, 2)
    assert last.usage.total_tokens == 5


def test_a_tool_is_called_and_told(client: OpenAI) -> None:
    messages = user('call get_weather {"city": "Lisbon"}')
    asked = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
    (choice,) = asked.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    assert (call.type, call.function.name) == ("function", "get_weather")
    assert call.function.arguments == '{"city": "Lisbon"}'
    # The client's own object goes back as it came, which is what its documentation shows.
    told = client.chat.completions.create(
        model=MODEL,
        messages=[
            *messages,
            choice.message,  # type: ignore[list-item]  # the client takes it; its types do not
            {"role": "tool", "tool_call_id": call.id, "content": "19 degrees"},
        ],
        tools=[WEATHER],
    )
    assert told.choices[0].message.content == "the tool said 19 degrees"
    assert told.choices[0].finish_reason == "stop"


def test_every_fragment_of_a_call_says_which_it_is_of(client: OpenAI) -> None:
    script = 'call get_weather {"city": "Lisbon"}\ncall get_weather {"city": "Porto"}'
    chunks = client.chat.completions.create(
        model=MODEL, messages=user(script), tools=[WEATHER], stream=True
    )
    fragments = [each for chunk in chunks for each in chunk.choices[0].delta.tool_calls or []]
    assert {each.index for each in fragments} == {0, 1}
    for index, city in enumerate(("Lisbon", "Porto")):
        first, *rest = (each for each in fragments if each.index == index)
        assert first.id
        assert first.type == "function"
        assert first.function is not None
        assert first.function.name == "get_weather"
        assert {(each.id, each.type) for each in rest} == {(None, None)}
        assert {each.function.name for each in rest if each.function} == {None}
        said = "".join(each.function.arguments or "" for each in [first, *rest] if each.function)
        assert said == f'{{"city": "{city}"}}'


def test_a_call_can_be_forced_and_forbidden(client: OpenAI) -> None:
    forced = client.chat.completions.create(
        model=MODEL,
        messages=user("say no"),
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    )
    assert forced.choices[0].message.tool_calls
    required = client.chat.completions.create(
        model=MODEL, messages=user("say no"), tools=[WEATHER], tool_choice="required"
    )
    assert required.choices[0].message.tool_calls
    forbidden = client.chat.completions.create(
        model=MODEL, messages=user("say no"), tools=[WEATHER], tool_choice="none"
    )
    assert forbidden.choices[0].message.content == "no"


def test_several_choices_and_what_ends_them(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=user("words 50"), n=3, max_completion_tokens=2
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert {choice.message.content for choice in answer.choices} == {"word0 word1 "}
    assert {choice.finish_reason for choice in answer.choices} == {"length"}
    filtered = client.chat.completions.create(
        model=MODEL, messages=user("say He\nfinish content_filter")
    )
    assert filtered.choices[0].finish_reason == "content_filter"


def test_log_probabilities_are_those_of_each_token(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=user("say Hé"), logprobs=True, top_logprobs=2
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    (token,) = logprobs.content
    assert (token.token, token.bytes, token.logprob) == ("Hé", list("Hé".encode()), -0.25)
    assert [each.token for each in token.top_logprobs] == ["Hé", "other1"]


def test_text_of_every_script_arrives_as_it_was_said(client: OpenAI) -> None:
    said = 'naïve 日本語 🧑‍🚀 "quoted" \\ \u2028 end'
    whole = client.chat.completions.create(model=MODEL, messages=user(f"say {said}"))
    assert whole.choices[0].message.content == said
    stream = client.chat.completions.create(model=MODEL, messages=user(f"say {said}"), stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == said


def test_every_role_and_parts_of_content_are_taken(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
            {"role": "user", "content": [{"type": "text", "text": "say "}], "name": "ada"},
            {"role": "assistant", "content": "Yes?"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "say "}, {"type": "text", "text": "Hi."}],
            },
        ],
    )
    assert answer.choices[0].message.content == "Hi."


def test_what_the_raw_response_says(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=user("say Hi."), extra_headers={"x-request-id": "order-7"}
    )
    assert raw.headers["x-request-id"] == "order-7"
    assert raw.headers["x-mesh-model"] == MODEL
    assert raw.headers["content-type"] == "application/json"
    answer = raw.parse()
    assert answer._request_id == "order-7"
    assert answer.choices[0].message.content == "Hi."
