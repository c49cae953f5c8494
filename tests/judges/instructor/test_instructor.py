"""Instructor: structured output in its modes, tried again where an answer does not fit."""

from collections.abc import Iterator
from typing import Any

import instructor
import pytest
from instructor import Mode
from instructor.core import InstructorRetryException
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel, Field
from scripted_mesh import ScriptedMesh

pytestmark = pytest.mark.full
VALUES = '{"name": "Lisbon", "people": 545796}'


class City(BaseModel):
    """A city."""

    name: str
    people: int = Field(gt=0)


# As plain values: it answers with classes of its own, made of ours.
LISBON = {"name": "Lisbon", "people": 545796}
PORTO = {"name": "Porto", "people": 231962}


def asked(script: str) -> list[Any]:
    """A conversation of one message."""
    return [{"role": "user", "content": script}]


@pytest.fixture
def client(mesh: ScriptedMesh) -> Iterator[OpenAI]:
    """The client that it wraps."""
    with OpenAI(base_url=f"{mesh.url}/v1", api_key=mesh.key) as opened:
        yield opened


@pytest.mark.parametrize(
    ("mode", "script"),
    [
        (Mode.TOOLS, f"call City {VALUES}"),
        (Mode.JSON, f"say {VALUES}"),
        (Mode.JSON_SCHEMA, f"say {VALUES}"),
        (Mode.MD_JSON, f"say ```json\n{VALUES}\n```"),
    ],
)
def test_an_object_in_every_mode(client: OpenAI, mode: Mode, script: str) -> None:
    asking = instructor.from_openai(client, mode=mode)
    answer = asking.chat.completions.create(
        model="llm", messages=asked(script), response_model=City
    )
    assert answer.model_dump() == LISBON


async def test_an_object_asynchronously(mesh: ScriptedMesh) -> None:
    async with AsyncOpenAI(base_url=f"{mesh.url}/v1", api_key=mesh.key) as client:
        asking = instructor.from_openai(client, mode=Mode.TOOLS)
        answer = await asking.chat.completions.create(
            model="llm", messages=asked(f"call City {VALUES}"), response_model=City
        )
    assert answer.model_dump() == LISBON


def test_the_raw_answer_is_at_hand(client: OpenAI) -> None:
    asking = instructor.from_openai(client, mode=Mode.TOOLS)
    answer, raw = asking.chat.completions.create_with_completion(
        model="llm", messages=asked(f"call City {VALUES}"), response_model=City
    )
    assert answer.model_dump() == LISBON
    assert raw.usage.completion_tokens > 0
    assert raw.choices[0].finish_reason == "tool_calls"


def test_an_object_grows_while_it_streams(client: OpenAI) -> None:
    asking = instructor.from_openai(client, mode=Mode.TOOLS)
    partial = list(
        asking.chat.completions.create_partial(
            model="llm", messages=asked(f"call City {VALUES}"), response_model=City
        )
    )
    assert len(partial) > 2
    assert partial[-1].model_dump() == LISBON


def test_objects_come_one_by_one(client: OpenAI) -> None:
    asking = instructor.from_openai(client, mode=Mode.TOOLS)
    script = f'call IterableCity {{"tasks": [{VALUES}, {{"name": "Porto", "people": 231962}}]}}'
    found = asking.chat.completions.create_iterable(
        model="llm", messages=asked(script), response_model=City
    )
    assert [each.model_dump() for each in found] == [LISBON, PORTO]


def test_what_does_not_fit_is_asked_again_and_then_told(client: OpenAI) -> None:
    seen: list[Any] = []
    asking = instructor.from_openai(client, mode=Mode.TOOLS)
    asking.on("completion:response", seen.append)
    with pytest.raises(InstructorRetryException):
        asking.chat.completions.create(
            model="llm",
            messages=asked('call City {"name": "Lisbon", "people": -1}'),
            response_model=City,
            max_retries=1,
        )
    # The second time the conversation has its own call and what was wrong with it.
    assert len(seen) == 2
