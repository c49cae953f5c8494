"""The page says every figure, with what may be concluded from it."""

from mesh_llm.training.evaluation import page
from mesh_llm.training.evaluation.figures import Calls, Evaluation, Forms, Speed, Text, Weights

CALLS = Calls(100, 99, 61, 2, 1, 40, 20)
SPEED = Speed(31.2, 140, 8, 905, 523)
AS_THEY_ARE, ROUNDED = Text(20480, 21.5, 1.0), Text(20480, 24.25, 0.875)
PLAIN = Weights("bf16", "as they are", 1_260_367_448, AS_THEY_ARE, CALLS, SPEED)
REFUSED = Weights("INT4", "of 4 bits", 600_000_000, ROUNDED, None, None, "no kernel")


def evaluation(*, compiled: bool) -> Evaluation:
    return Evaluation(
        version="20261126-195611-3dc2ce",
        base="Qwen2.5-Coder-0.5B-Instruct",
        quantised_before="Q4_K_M",
        processor="a processor",
        compiled=compiled,
        forms=Forms(40, 39, 12, 30),
        weights=[PLAIN, REFUSED],
    )


def test_the_page_says_what_was_found() -> None:
    said = page.render(evaluation(compiled=True))
    for expected in (
        "version `20261126-195611-3dc2ce`",
        "rounded to 4 bits already (Q4_K_M)",
        "| 99% (95 to 100) | 61% (51 to 70) |",
        "| 98% (87 to 100) |",
        "| bf16 | 1,260 | 21.50 | 100.0% | 61% (51 to 70) |",
        "| INT4 | 600 | 24.25 | 87.5% | not served here |",
        "The engine refuses it here: `no kernel`",
        "| bf16 | 31.2 | 140.0 | 905 |",
        "first token of 523, ms",
    ):
        assert expected in said
    assert "\n\n\n" not in said
    assert "ompil" not in said


def test_the_page_says_that_the_model_was_not_compiled() -> None:
    said = page.render(evaluation(compiled=False))
    assert "cli/mesh models evaluate llm --no-compile\n" in said
    assert "Served without compiling the model" in said
    assert "\n\n\n" not in said


def test_a_share_has_the_interval_of_wilson() -> None:
    assert page.share(8, 10) == "80% (49 to 94)"
    assert page.share(0, 10) == "0% (0 to 28)"
    assert page.share(10, 10) == "100% (72 to 100)"
