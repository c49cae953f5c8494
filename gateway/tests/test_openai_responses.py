"""`POST /v1/responses`, as a client of OpenAI's API sees it."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from llm_mesh import TOKEN_OF_E, RoutedMesh, asking, chat, error_of
from processes import until

PATH = "/v1/responses"
CHAT = "/v1/chat/completions"
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Says the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": True,
}
PARIS = 'call weather {"city": "Paris"}'
LIFECYCLE = ["response.created", "response.in_progress"]


@pytest.fixture
def client(llm_mesh: RoutedMesh) -> Iterator[httpx.Client]:
    with llm_mesh.client() as opened:
        yield opened


def answered(client: httpx.Client, script: str, **more: Any) -> Any:
    """The response to a script."""
    answer = client.post(PATH, json=asking(script, **more))
    assert answer.status_code == 200, answer.text
    return answer.json()


def events(text: str) -> list[Any]:
    """The events of a stream, each of which has its name twice and its number."""
    *parts, rest = text.split("\n\n")
    assert rest == ""
    found = []
    for number, part in enumerate(parts):
        named, told = part.split("\n")
        event = json.loads(told.removeprefix("data: "))
        assert event["type"] == named.removeprefix("event: ")
        assert event["sequence_number"] == number
        found.append(event)
    return found


def streamed(client: httpx.Client, script: str, **more: Any) -> list[Any]:
    """The events of the response to a script."""
    answer = client.post(PATH, json=asking(script, stream=True, **more))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-mesh-model"] == "llm"
    return events(answer.text)


def kinds(found: list[Any]) -> list[str]:
    return [each["type"] for each in found]


def test_a_response(client: httpx.Client) -> None:
    body = answered(client, "hello you", metadata={"a": "b"}, store=True, user="ann")
    assert body.pop("id").startswith("resp_")
    assert body.pop("created_at") > 1_700_000_000
    assert body["output"][0].pop("id").startswith("msg_")
    assert body == {
        "object": "response",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "llm",
        "output": [
            {
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "hello you", "annotations": [], "logprobs": []}
                ],
            }
        ],
        "usage": {
            "input_tokens": 2,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 4,
        },
        "instructions": None,
        "max_output_tokens": None,
        "temperature": None,
        "top_p": None,
        "top_logprobs": None,
        "text": {"format": {"type": "text"}, "verbosity": None},
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "metadata": {"a": "b"},
        "store": False,
        "background": False,
        "previous_response_id": None,
        "truncation": "disabled",
    }


def test_what_was_asked_for_stands_in_the_response(client: httpx.Client) -> None:
    asked_for: dict[str, Any] = {
        "instructions": "be brief",
        "max_output_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.75,
        "top_logprobs": 1,
        "text": {
            "format": {
                "type": "json_schema",
                "name": "a",
                "schema": {"type": "object"},
                "description": None,
                "strict": True,
            },
            "verbosity": "low",
        },
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "name": "weather"},
        "parallel_tool_calls": False,
    }
    body = answered(client, PARIS, **asked_for)
    assert {name: body[name] for name in asked_for} == asked_for


def test_a_stream(client: httpx.Client) -> None:
    found = streamed(client, "say a b")
    assert kinds(found) == [
        *LIFECYCLE,
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 2,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    created, in_progress, added, part, first, second, text, part_done, done, completed = found
    assert created["response"] == in_progress["response"]
    assert created["response"]["status"] == "in_progress"
    assert (created["response"]["output"], created["response"]["usage"]) == ([], None)
    item = added["item"]
    assert (item["status"], item["content"]) == ("in_progress", [])
    for each in (part, first, second, text, part_done):
        place = (each["item_id"], each["output_index"], each["content_index"])
        assert place == (item["id"], 0, 0)
    assert part["part"]["text"] == ""
    assert (first["delta"], second["delta"], text["text"]) == ("a ", "b", "a b")
    assert part_done["part"]["text"] == "a b"
    whole = {**item, "status": "completed", "content": [part_done["part"]]}
    assert done["item"] == whole
    assert completed["response"] == {
        **created["response"],
        "status": "completed",
        "output": [whole],
        "usage": completed["response"]["usage"],
    }
    assert completed["response"]["usage"]["total_tokens"] == 5


def test_bodies_and_events_are_what_the_document_says(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    said = document["paths"][PATH]["post"]
    body = asking(f"think hm; say so; {PARIS}", tools=[WEATHER], top_logprobs=1)
    whole = client.post(PATH, json=body).json()
    output = {"type": "function_call_output", "call_id": "call_0", "output": "sun"}
    history = [{"type": "message", "role": "user", "content": "hi"}, *whole["output"], output]
    data = said["responses"]["200"]["content"]["text/event-stream"]["schema"]["properties"]["data"]
    told = streamed(client, body.pop("input"), **body)
    for schema, each in [
        (said["requestBody"]["content"]["application/json"]["schema"], {**body, "input": history}),
        (said["responses"]["200"]["content"]["application/json"]["schema"], whole),
        *((data["anyOf"][0]["contentSchema"], event) for event in told),
    ]:
        Draft202012Validator({**schema, "components": document["components"]}).validate(each)


def test_calls(client: httpx.Client) -> None:
    script = f'{PARIS}; call weather {{"city": "Rome"}}'
    body = answered(client, script, tools=[WEATHER])
    assert body["status"] == "completed"
    assert len({call.pop("id") for call in body["output"]}) == 2
    assert body["output"] == [
        {
            "type": "function_call",
            "call_id": f"call_{index}",
            "name": "weather",
            "arguments": f'{{"city": "{city}"}}',
            "status": "completed",
        }
        for index, city in enumerate(("Paris", "Rome"))
    ]


def test_calls_of_a_stream_come_one_after_the_other(client: httpx.Client) -> None:
    found = streamed(client, f"say so; {PARIS}; call weather {{}}", tools=[WEATHER])
    assert list(dict.fromkeys((each.get("output_index"), each["type"]) for each in found)) == [
        *((None, kind) for kind in LIFECYCLE),
        (0, "response.output_item.added"),
        (0, "response.content_part.added"),
        (0, "response.output_text.delta"),
        (0, "response.output_text.done"),
        (0, "response.content_part.done"),
        (0, "response.output_item.done"),
        *(
            (place, f"response.{kind}")
            for place in (1, 2)
            for kind in (
                "output_item.added",
                "function_call_arguments.delta",
                "function_call_arguments.done",
                "output_item.done",
            )
        ),
        (None, "response.completed"),
    ]
    pieces = [each["delta"] for each in found if each["type"].endswith("arguments.delta")]
    assert "".join(pieces) == '{"city": "Paris"}{}'
    done = [each for each in found if each["type"].endswith("arguments.done")]
    assert [(each["name"], each["arguments"]) for each in done] == [
        ("weather", '{"city": "Paris"}'),
        ("weather", "{}"),
    ]
    items = [each["item"] for each in found if each["type"] == "response.output_item.done"]
    assert items == found[-1]["response"]["output"]


def test_what_the_model_thought_is_an_item_of_its_own(client: httpx.Client) -> None:
    thought, said = answered(client, "think hm well; say yes")["output"]
    assert thought.pop("id").startswith("rs_")
    assert thought == {
        "type": "reasoning",
        "status": "completed",
        "content": [{"type": "reasoning_text", "text": "hm well"}],
        "summary": [],
    }
    assert said["content"][0]["text"] == "yes"
    found = streamed(client, "think hm well; say yes")
    told = [each for each in found if each.get("output_index") == 0]
    assert kinds(told) == [
        "response.output_item.added",
        "response.content_part.added",
        *["response.reasoning_text.delta"] * 2,
        "response.reasoning_text.done",
        "response.content_part.done",
        "response.output_item.done",
    ]
    assert told[-3]["text"] == "hm well"


@pytest.mark.parametrize(
    "wanted",
    [{"top_logprobs": 2}, {"top_logprobs": 2, "include": ["message.output_text.logprobs"]}],
)
def test_logprobs(client: httpx.Client, wanted: dict[str, Any]) -> None:
    body = answered(client, "say é", **wanted)
    assert body["output"][0]["content"][0]["logprobs"] == [TOKEN_OF_E]
    told = [each for each in streamed(client, "say é", **wanted) if "logprobs" in each]
    assert [(each["type"], each["logprobs"]) for each in told] == [
        ("response.output_text.delta", [TOKEN_OF_E]),
        ("response.output_text.done", [TOKEN_OF_E]),
    ]


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_a_response_that_is_cut_short(client: httpx.Client, finish: str, reason: str) -> None:
    script = f"say a; finish {finish}"
    body = answered(client, script)
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert body["output"][0]["status"] == "incomplete"
    last = streamed(client, script)[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": reason}


def test_most_tokens_end_a_response(client: httpx.Client) -> None:
    body = answered(client, "words 10", max_output_tokens=3)
    assert body["incomplete_details"] == {"reason": "max_output_tokens"}
    assert body["usage"]["output_tokens"] == 3


def test_an_answer_is_taken_back_as_it_came(client: httpx.Client) -> None:
    first = answered(client, f"think hm; say so; {PARIS}", tools=[WEATHER])
    output = {"type": "function_call_output", "call_id": "call_0", "output": "sun"}
    history = [{"role": "user", "content": "hi"}, *first["output"], output]
    body = answered(client, "", input=history, tools=[WEATHER])
    assert body["output"][0]["content"][0]["text"] == "the tool said sun"


def test_a_stream_that_breaks_off_ends_with_an_error(client: httpx.Client) -> None:
    found = streamed(client, "say a; fault")
    last = found[-1]
    assert kinds(found)[-2:] == ["response.output_text.delta", "error"]
    assert (last["param"], last["code"]) == (None, "internal")
    assert last["error"] == {
        "message": last["message"],
        "type": "server_error",
        "param": None,
        "code": "internal",
    }
    assert "secret" not in last["message"]


def test_an_error_before_the_first_event_is_an_ordinary_one(client: httpx.Client) -> None:
    answer = client.post(PATH, json=asking("fail Unavailable", stream=True))
    assert error_of(answer, 503)["code"] == "unavailable"
    assert answer.headers["retry-after"] == "1"


def test_nobody_repeats_a_response_that_had_begun(client: httpx.Client) -> None:
    answer = client.post(PATH, json=asking("say a; fail Unavailable"))
    assert error_of(answer, 503)["type"] == "server_error"
    assert answer.headers["x-should-retry"] == "false"


def test_the_deadline_of_the_caller_ends_a_response(
    client: httpx.Client, llm_mesh: RoutedMesh
) -> None:
    hurried = {"x-request-timeout-ms": "1500"}
    answer = client.post(PATH, json=asking("say a; wait"), headers=hurried)
    assert error_of(answer, 504)["code"] == "deadline_exceeded"
    answer = client.post(PATH, json=asking("say a; wait", stream=True), headers=hurried)
    assert events(answer.text)[-1]["code"] == "deadline_exceeded"
    until(llm_mesh.at_rest, "rest")


@pytest.mark.parametrize("script", ["think hm; say a b", 'call f {"a": 1}; call g {}'])
def test_kept_answers_are_given_again(client: httpx.Client, script: str) -> None:
    """A chat that asks the same has the same answer, and so shares what is kept."""
    words = {"instructions": secrets.token_hex(8), "temperature": 0}
    first = client.post(PATH, json=asking(script, **words))
    assert first.headers["x-mesh-cache"] == "miss"
    again = client.post(PATH, json=asking(script, **words, stream=True))
    assert again.headers["x-mesh-cache"] == "hit"
    found, kept = first.json(), events(again.text)[-1]["response"]
    for body in (found, kept):
        for each in (body, *body["output"]):
            del each["id"]
        del body["created_at"]
    assert kept == found
    messages = [
        {"role": "system", "content": words["instructions"]},
        {"role": "user", "content": script},
    ]
    chatted = client.post(CHAT, json=chat(script, messages=messages, temperature=0))
    assert chatted.headers["x-mesh-cache"] == "hit"


def test_an_alias_chooses_by_the_tools(client: httpx.Client) -> None:
    named = {"model": "auto"}
    plain = client.post(PATH, json=asking("say a", **named))
    assert (plain.json()["model"], plain.headers["x-mesh-model"]) == ("auto", "llm-terse")
    offering = client.post(PATH, json=asking("say a", **named, tools=[WEATHER]))
    assert offering.headers["x-mesh-model"] == "llm"
