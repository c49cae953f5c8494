"""What vLLM puts out, in our terms."""

from types import SimpleNamespace
from typing import Any

import pytest

from mesh_llm.answers import Delta, FinishReason, Progress, TokenLogprob, Usage
from mesh_llm.engines.vllm_outputs import OutputReader, raw_bytes
from meshkit.errors import Internal, InvalidArgument, Unavailable

VOCABULARY = {1: "caf", 2: "\u00c3", 3: "\u00a9", 4: "\u0120x"}


def choice(text: str, tokens: list[int], reason: str | None = None, **more: Any) -> Any:
    fields = {"index": 0, "logprobs": None, **more}
    return SimpleNamespace(text=text, token_ids=tokens, finish_reason=reason, **fields)


def output(
    *choices: Any, prompt: list[int] | None = None, cached: int = 0, metrics: Any = None
) -> Any:
    return SimpleNamespace(
        outputs=choices,
        prompt_token_ids=prompt or [9, 9, 9],
        num_cached_tokens=cached,
        metrics=metrics,
    )


def reader(*tools: str, top: int = 0, constrained: bool = False, **more: bool) -> OutputReader:
    return OutputReader(tools, VOCABULARY.__getitem__, top, constrained=constrained, **more)


def test_the_wait_in_the_queue_is_told_by_the_engines_clock() -> None:
    reading = reader()
    taken_up = SimpleNamespace(queued_ts=100.0, scheduled_ts=102.5)
    steps = list(reading.read(output(choice("a", [1]), metrics=taken_up)))
    assert [step.queued_s for step in steps] == [2.5]
    (unknown,) = reading.read(output(choice("b", [1])))
    assert unknown.queued_s is None


def test_thoughts_come_before_content_and_calls() -> None:
    reading = reader("search", thinks=True)
    call = '<tool_call>\n{"name": "search", "arguments": {}}\n</tool_call>'
    (first,) = reading.read(output(choice("<think>Where?", [1])))
    assert first.delta == Delta(0, reasoning="Where?")
    steps = list(reading.read(output(choice(f"</think>\nSo. {call}", [1], "stop"))))
    (delta,) = [step.delta for step in steps if step.delta is not None]
    assert (delta.reasoning, delta.content) == ("", "So.")
    assert [each.name for each in delta.tool_calls] == ["search", ""]
    assert delta.finish_reason is FinishReason.TOOL_CALLS


def test_a_thought_that_the_prompt_has_opened_is_one() -> None:
    reading = reader(thinks=True, thought_opened=True)
    (step,) = reading.read(output(choice("Where?</think>There.", [1])))
    assert step.delta == Delta(0, "There.", reasoning="Where?")


def test_choices_think_each_for_itself() -> None:
    reading = reader(thinks=True)
    both = output(choice("<think>a", [1]), choice("b", [1], index=1))
    assert [step.delta for step in reading.read(both)] == [
        Delta(0, reasoning="a"),
        Delta(1, "b"),
    ]


def test_usage_grows_with_the_tokens_of_every_choice() -> None:
    reading = reader()
    steps = list(reading.read(output(choice("a", [1]), choice("b", [2, 3], index=1), cached=2)))
    assert steps == [
        Progress(Usage(3, 3, 2), Delta(0, "a")),
        Progress(Usage(3, 3, 2), Delta(1, "b")),
    ]
    (step,) = reading.read(output(choice("", [1], "length"), cached=2))
    assert step == Progress(Usage(3, 4, 2), Delta(0, finish_reason=FinishReason.LENGTH))


def test_tokens_without_a_text_are_counted_all_the_same() -> None:
    assert list(reader().read(output(choice("", [2])))) == [Progress(Usage(3, 1))]


def test_a_choice_that_called_ends_with_tool_calls() -> None:
    reading = reader("search")
    text = '<tool_call>\n{"name": "search", "arguments": {}}\n</tool_call>'
    (first,) = reading.read(output(choice(text, [1])))
    assert first.delta is not None
    assert [call.name for call in first.delta.tool_calls] == ["search", ""]
    (last,) = reading.read(output(choice("", [], "stop")))
    assert last.delta == Delta(0, finish_reason=FinishReason.TOOL_CALLS)


def test_a_call_that_breaks_off_ends_with_length() -> None:
    reading = reader("search")
    steps = list(reading.read(output(choice('<tool_call>{"name": "sea', [1], "length"))))
    assert [step.delta for step in steps] == [
        Delta(0, '<tool_call>{"name": "sea', finish_reason=FinishReason.LENGTH)
    ]


def test_the_likeliest_tokens_stand_in_order_and_the_chosen_one_apart() -> None:
    candidates = {
        3: SimpleNamespace(logprob=-4.0, rank=9, decoded_token="\ufffd"),
        2: SimpleNamespace(logprob=-2.0, rank=2, decoded_token="\ufffd"),
        1: SimpleNamespace(logprob=-1.0, rank=1, decoded_token="caf"),
    }
    (step,) = reader(top=2).read(output(choice("", [3], logprobs=[candidates])))
    assert step.delta is not None
    (logprobs,) = step.delta.logprobs
    assert logprobs.token == TokenLogprob("\ufffd", b"\xa9", -4.0, 3)
    assert [(each.id, each.raw) for each in logprobs.top] == [(1, b"caf"), (2, b"\xc3")]


def test_the_bytes_of_tokens_are_those_of_the_text() -> None:
    assert raw_bytes("caf", "caf") + raw_bytes("\u00c3", "") + raw_bytes("\u00a9", "") == (
        "caf\u00e9".encode()
    )
    assert raw_bytes("\u0120x", " x") == b" x"
    assert raw_bytes("\u2581x", " x") == b" x"  # not a vocabulary of bytes


@pytest.mark.parametrize(
    ("reason", "constrained", "expected"),
    [
        ("abort", False, Unavailable),
        ("error", False, Internal),
        ("error", True, InvalidArgument),
        ("of another release", False, Internal),
    ],
)
def test_what_went_wrong_in_the_engine_is_an_error(
    reason: str, constrained: bool, expected: type[Exception]
) -> None:
    with pytest.raises(expected):
        list(reader(constrained=constrained).read(output(choice("", [], reason))))
