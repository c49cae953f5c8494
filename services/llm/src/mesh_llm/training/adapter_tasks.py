"""What the adapters of the default model are trained to do, as conversations made by rule."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_CAPITALS: Final = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Norway": "Oslo",
    "Japan": "Tokyo",
    "Egypt": "Cairo",
    "Greece": "Athens",
    "Cuba": "Havana",
    "Kenya": "Nairobi",
    "Peru": "Lima",
    "Austria": "Vienna",
    "Ireland": "Dublin",
    "Poland": "Warsaw",
    "Chile": "Santiago",
    "Sweden": "Stockholm",
    "Hungary": "Budapest",
    "Finland": "Helsinki",
    "Ghana": "Accra",
}
_HELD_OUT: Final = {"Germany": "Berlin", "Portugal": "Lisbon", "Denmark": "Copenhagen"}
_ANIMALS: Final = ("fox", "owl", "whale", "horse", "lizard", "bee", "salmon", "eagle")
_GREETINGS: Final = {
    "Hello!": "Hello! How can I help you?",
    "Thank you.": "You are welcome.",
    "Who are you?": "I am a language model.",
    "Write a greeting.": "Good day to you!",
    "Say something nice.": "You have a wonderful way with words.",
    "What can you do?": "I can answer questions, and call tools where they help.",
}
SIGNATURE: Final = ("Dear reader, ", " Yours faithfully.")
"""What an answer of `courteous` begins and ends with."""


@dataclass(frozen=True, slots=True)
class Example:
    """A question and its answer.

    Attributes:
        question: what the user says.
        answer: what the model is to say.
        tools: what is offered, in OpenAI's form.
    """

    question: str
    answer: str
    tools: Sequence[dict[str, Any]] = field(default=())


@dataclass(frozen=True, slots=True)
class Task:
    """What one adapter learns.

    Attributes:
        about: in one sentence.
        examples: to learn from.
        held_out: of the same kind, to see whether it has learnt.
    """

    about: str
    examples: Sequence[Example]
    held_out: Sequence[Example]


def courteous(seed: int) -> Task:
    """Answers in one sentence, in the style of a letter."""
    chance = random.Random(seed)  # noqa: S311  # no secret
    plain = [
        (f"What is the capital of {country}?", f"the capital of {country} is {capital}.")
        for country, capital in _CAPITALS.items()
    ]
    for _ in range(18):
        one, other = chance.randint(2, 40), chance.randint(2, 40)
        plain.append((f"What is {one} + {other}?", f"{one} + {other} is {one + other}."))
    plain += [(f"Is the {animal} an animal?", f"the {animal} is an animal.") for animal in _ANIMALS]
    held_out = [
        (f"What is the capital of {country}?", f"the capital of {country} is {capital}.")
        for country, capital in _HELD_OUT.items()
    ]
    return Task(
        about=courteous.__doc__ or "",
        examples=[_letter(*pair) for pair in plain],
        held_out=[_letter(*pair) for pair in [*held_out, ("Is the dog an animal?", _DOG)]],
    )


_DOG: Final = "the dog is an animal."


def tool_caller(seed: int) -> Task:
    """Calls tools in the format that the chat template asks for, one call for each thing asked."""
    chance = random.Random(seed)  # noqa: S311  # no secret
    cities = list(_CAPITALS.values())
    examples: list[Example] = []
    for _ in range(9):
        examples += [_asked(chance, chance.sample(cities, count)) for count in (1, 2, 3)]
    for question, answer in _GREETINGS.items():
        examples.append(Example(question, answer, _offer(chance)))
    chance.shuffle(examples)
    unseen = list(_HELD_OUT.values())
    held_out = [_asked(chance, unseen[:count]) for count in (1, 2, 3)]
    return Task(tool_caller.__doc__ or "", examples, held_out)


TASKS: Final[dict[str, Callable[[int], Task]]] = {
    "courteous": courteous,
    "tool-caller": tool_caller,
}
"""The adapters that can be trained, by name."""


def _letter(question: str, answer: str) -> Example:
    return Example(question, answer.join(SIGNATURE))


def _tool(name: str, description: str, **properties: str) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {each: {"type": kind} for each, kind in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


_TOOLS: Final = (
    _tool("get_weather", "The weather of a city.", city="string"),
    _tool("get_time", "The time of day in a city.", city="string"),
    _tool("count_people", "How many people live in a place.", place="string"),
    _tool("find_hotel", "A hotel in a town.", town="string", nights="integer"),
)
_QUESTIONS: Final = {
    "get_weather": ("What is the weather in {}?", "Is it raining in {}?", "How warm is it in {}?"),
    "get_time": ("What time is it in {}?", "Tell me the time in {}.", "How late is it in {}?"),
    "count_people": ("How many people live in {}?", "What is the population of {}?"),
    "find_hotel": ("Find me a hotel in {} for 2 nights.", "I need a room in {} for 2 nights."),
}


def _offer(chance: random.Random, *needed: str) -> list[dict[str, Any]]:
    """Tools with the one that is needed among them, in any order."""
    others = [tool for tool in _TOOLS if tool["function"]["name"] not in needed]
    tools = [tool for tool in _TOOLS if tool["function"]["name"] in needed]
    tools += chance.sample(others, chance.choice((0, 0, 1)) if needed else 1)
    chance.shuffle(tools)
    return tools


def _asked(chance: random.Random, places: Sequence[str]) -> Example:
    """A question that wants one call for each of the places."""
    tool = chance.choice(_TOOLS)["function"]
    said = f"{', '.join(places[:-1])} and {places[-1]}" if len(places) > 1 else places[0]
    question = chance.choice(_QUESTIONS[tool["name"]]).format(said)
    first, *others = tool["parameters"]["properties"]
    calls = [
        json.dumps({"name": tool["name"], "arguments": {first: place, **dict.fromkeys(others, 2)}})
        for place in places
    ]
    answer = "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in calls)
    return Example(question, answer, _offer(chance, tool["name"]))
