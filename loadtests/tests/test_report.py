import re
import struct

from mesh_load.plots import draw, error_share, shown_errors
from mesh_load.report import report
from mesh_load.settings import Settings
from mesh_load.steps import Step, best
from mesh_load.tally import Answers

SETTINGS = Settings.load({"MESH_LOAD_URL": "https://mesh.example", "MESH_LOAD_KEY": "mesh_a_b"})


def step(rate: int, good: int, **errors: int) -> Step:
    answers = Answers()
    for number in range(good):
        answers.good.record(10.0 + number)
    answers.errors.update(errors)
    return Step(rate, 10, 0.3, {"classify, 1 short text": answers})


HELD, OVER = step(10, 100), step(20, 110, OVERLOADED=60)


def test_the_report_says_what_held_and_what_did_not() -> None:
    page = report(SETTINGS, [HELD, OVER])
    assert "It held **10 requests a second** (10 texts a second)" in page
    assert "It did not hold 20: 11 were answered" in page
    assert "| 20 | OVERLOADED | 60 |" in page
    assert "| 10 | 10.0 | 10.0 | 10 |" in page
    assert "`MESH_LOAD_GRPC_URL` is unset" in page
    assert "short of CPU" not in page
    assert "mesh_a_b" not in page


def test_the_report_names_every_picture() -> None:
    named = re.findall(r"\]\((\w+\.png)\)", report(SETTINGS, [HELD]))
    assert named == list(draw([HELD]))


def test_the_best_step_is_before_the_first_that_did_not_hold() -> None:
    assert best([HELD, OVER, step(40, 400)]) == HELD
    assert best([OVER, HELD]) is None
    assert "Not even the first step held" in report(SETTINGS, [OVER])


def test_a_load_short_of_cpu_says_so() -> None:
    busy = Step(10, 10, 0.95, HELD.kinds)
    assert "short of CPU" in report(SETTINGS, [busy])


def test_pictures_are_drawn_with_and_without_errors() -> None:
    for steps in ([HELD], [HELD, OVER], [step(10, 0)]):
        for picture in draw(steps).values():
            assert picture.startswith(b"\x89PNG")
            assert struct.unpack(">II", picture[16:24]) == (1050, 600)


def test_errors_that_have_no_colour_of_their_own_are_put_together() -> None:
    many = step(10, 55, **{f"error {number}": 9 - number for number in range(9)})
    shown = shown_errors([many])
    assert shown == [*(f"error {number}" for number in range(5)), "others"]
    assert error_share(many, "error 0", shown) == 0.09
    assert error_share(many, "others", shown) == 0.1
