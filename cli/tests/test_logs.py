from collections.abc import Callable
from pathlib import Path

import pytest

from mesh_cli import logs
from mesh_cli.failures import Failure


class Enough(Exception):
    """Ends a follow."""


def test_the_last_lines_of_each_process_carry_its_name(tmp_path: Path) -> None:
    (tmp_path / "gateway.log").write_text("one\ntwo\nthree\ncut of")
    (tmp_path / "redis.log").write_text("ready\n")
    written: list[str] = []
    logs.show(logs.files(tmp_path, []), written.append, lines=2, follow=False)
    assert written == ["gateway | two", "gateway | three", "redis   | ready"]


def test_no_lines_can_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "gateway.log").write_text("one\n")
    written: list[str] = []
    logs.show(logs.files(tmp_path, ["gateway"]), written.append, lines=0, follow=False)
    assert written == []


def test_following_goes_on_with_new_lines_also_when_the_log_starts_anew(tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    log.write_text("old\n")
    written: list[str] = []
    steps: list[Callable[[], object]] = [
        lambda: log.write_text("old\nnew\n"),
        lambda: log.write_text("anew\n"),  # cut when it has grown too long
    ]

    def write(line: str) -> None:
        written.append(line)
        if not steps:
            raise Enough
        steps.pop(0)()

    with pytest.raises(Enough):
        logs.show({"gateway": log}, write, lines=1, follow=True)
    assert written == ["gateway | old", "gateway | new", "gateway | anew"]


def test_an_unknown_name_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="there are no logs in"):
        logs.files(tmp_path, [])
    (tmp_path / "gateway.log").write_text("")
    with pytest.raises(Failure, match="there is no log of 'door': choose from gateway"):
        logs.files(tmp_path, ["door"])
