import io
import re

import pytest

from mesh_cli.progress import Step


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_a_step_is_two_lines() -> None:
    out = io.StringIO()
    with Step("install gateway", out) as step:
        step.note("downloading grpcio")
    first, second = out.getvalue().splitlines()
    assert first == "install gateway ..."
    assert re.fullmatch(r"install gateway: done in \d+\.\d s", second)


def test_on_a_terminal_it_is_one_line_that_is_written_anew() -> None:
    out = Terminal()
    with Step("install gateway", out):
        pass
    assert re.fullmatch(r"\r\x1b\[Kinstall gateway: done in \d+\.\d s\n", out.getvalue())


def test_a_step_that_fails_says_so() -> None:
    out = io.StringIO()
    with pytest.raises(ValueError, match="no"), Step("train", out):
        raise ValueError("no")
    assert "train: failed in" in out.getvalue()
