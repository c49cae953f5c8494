"""Aliases: where they point, how they got there, and who may move them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit import aliases
from meshkit.aliases import Alias, AliasMoved, BadAlias

MODEL = "classifier"
RACE = """
import sys
from pathlib import Path
from meshkit import aliases
seen = aliases.read(Path(sys.argv[1]), "classifier")
print("ready", flush=True)
sys.stdin.readline()
try:
    aliases.write(Path(sys.argv[1]), "classifier", "v2", replaces=seen, reason=sys.argv[2])
    print("won")
except aliases.AliasMoved:
    print("told")
"""


def folder(home: Path) -> Path:
    return aliases.folder(home, MODEL, "production")


def test_an_alias_that_was_never_set_points_nowhere(tmp_path: Path) -> None:
    assert aliases.read(tmp_path, MODEL) is None
    assert aliases.numbers(tmp_path, MODEL) == []
    assert aliases.names(tmp_path, MODEL) == []


def test_an_alias_points_where_it_was_moved_last_and_keeps_its_history(tmp_path: Path) -> None:
    first = aliases.write(tmp_path, MODEL, "v1", replaces=None, reason="the first")
    second = aliases.write(tmp_path, MODEL, "v2", replaces=first, reason="better")
    assert (first.number, second.number) == (1, 2)
    assert aliases.read(tmp_path, MODEL) == second
    assert aliases.numbers(tmp_path, MODEL) == [1, 2]
    assert aliases.read_number(tmp_path, MODEL, "production", 1) == first
    assert {path.name for path in folder(tmp_path).iterdir()} == {"00000001.json", "00000002.json"}


def test_a_move_keeps_who_made_it_and_what_was_checked(tmp_path: Path) -> None:
    gates = {"gates": [{"gate": "metrics", "verdict": "passed"}]}
    move = aliases.following(None, MODEL, "v1", author="ada@host", details=gates)
    aliases.create(tmp_path, move)
    read = aliases.read(tmp_path, MODEL)
    assert read == move
    assert read is not None
    assert (read.author, read.details) == ("ada@host", gates)


def test_a_move_of_an_earlier_release_can_be_read(tmp_path: Path) -> None:
    folder(tmp_path).mkdir(parents=True)
    content = {
        "model": MODEL,
        "name": "production",
        "number": 1,
        "version": "v1",
        "created": "2026-01-01T00:00:00+00:00",
        "reason": "",
    }
    (folder(tmp_path) / "00000001.json").write_text(json.dumps(content))
    read = aliases.read(tmp_path, MODEL)
    assert read is not None
    assert (read.version, read.author, read.details, read.id) == ("v1", "", {}, "")


def test_no_two_moves_are_equal() -> None:
    moves = [aliases.following(None, MODEL, "v1", reason="same") for _ in range(9)]
    assert len({move.to_bytes() for move in moves}) == 9


def test_who_comes_second_is_told_and_changes_nothing(tmp_path: Path) -> None:
    first = aliases.write(tmp_path, MODEL, "v1", replaces=None)
    second = aliases.write(tmp_path, MODEL, "v2", replaces=first)
    for stale in (first, None):
        with pytest.raises(AliasMoved, match="classifier@production was moved by somebody else"):
            aliases.write(tmp_path, MODEL, "v3", replaces=stale)
    assert aliases.read(tmp_path, MODEL) == second
    assert len(list(folder(tmp_path).iterdir())) == 2


def test_of_many_processes_one_wins(tmp_path: Path) -> None:
    aliases.write(tmp_path, MODEL, "v1", replaces=None)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(6)
    ]
    for racer in racers:
        assert racer.stdout
        assert racer.stdout.readline() == "ready\n"
    said = [racer.communicate("go\n")[0].strip() for racer in racers]
    assert sorted(said) == ["told"] * 5 + ["won"]
    current = aliases.read(tmp_path, MODEL)
    assert current is not None
    assert (current.number, current.reason) == (2, str(said.index("won")))


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    aliases.write(tmp_path, MODEL, "v1", replaces=None)
    (path,) = folder(tmp_path).iterdir()
    assert path.stat().st_mode & 0o777 == 0o644


def test_names_lists_the_aliases_that_point_anywhere(tmp_path: Path) -> None:
    aliases.write(tmp_path, MODEL, "v1", replaces=None)
    aliases.write(tmp_path, MODEL, "v1", name="canary", replaces=None)
    (tmp_path / "aliases" / MODEL / "empty").mkdir()
    (tmp_path / "aliases" / MODEL / ".hidden").mkdir()
    assert aliases.names(tmp_path, MODEL) == ["canary", "production"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is damaged"),
        ("[]", "is damaged"),
        ("{", "is damaged"),
        ("[" * 100_000, "is damaged"),
        ('{"version": "v1"}', "is damaged"),
        ('{"surprise": 1}', "is damaged"),
    ],
)
def test_a_damaged_move_names_its_file(tmp_path: Path, content: str, message: str) -> None:
    folder(tmp_path).mkdir(parents=True)
    (folder(tmp_path) / "00000001.json").write_text(content)
    with pytest.raises(BadAlias, match=rf"00000001.json {message} .*restore it, or delete it"):
        aliases.read(tmp_path, MODEL)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model", "other", "describes another alias"),
        ("number", 7, "describes another alias"),
        ("created", 7, "describes another alias"),
        ("details", [], "describes another alias"),
        ("version", "../../etc", "is not a name"),
    ],
)
def test_a_move_of_something_else_is_not_believed(
    tmp_path: Path, field: str, value: object, message: str
) -> None:
    aliases.write(tmp_path, MODEL, "v1", replaces=None)
    (path,) = folder(tmp_path).iterdir()
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(BadAlias, match=message):
        aliases.read(tmp_path, MODEL)


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    move = aliases.following(None, MODEL, "v1", details={"text": "x" * aliases.MAX_BYTES})
    with pytest.raises(BadAlias, match="the record of a move has"):
        aliases.create(tmp_path, move)
    assert not (tmp_path / "aliases").exists()


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    first = aliases.write(tmp_path, MODEL, "v1", replaces=None)
    (folder(tmp_path) / "00000002.json").mkdir()  # something else is in the way
    with pytest.raises(AliasMoved):
        aliases.write(tmp_path, MODEL, "v2", replaces=first)
    assert {path.name for path in folder(tmp_path).iterdir()} == {"00000001.json", "00000002.json"}


@given(name=st.text(max_size=70))
def test_a_name_is_plain_or_refused(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.getbasetemp()
    try:
        place = aliases.folder(home, MODEL, name)
    except BadAlias:
        return
    assert place.parent == home / "aliases" / MODEL
    assert place.name == name


@given(st.builds(aliases.following, st.none(), st.just(MODEL), st.just("v1"), reason=st.text()))
def test_bytes_there_and_back(move: Alias) -> None:
    assert Alias.from_bytes(move.to_bytes(), MODEL, "production", 1, "here") == move


def test_the_first_version_is_promoted_and_no_other(tmp_path: Path) -> None:
    assert aliases.promote_first(tmp_path, MODEL, "v1")
    assert not aliases.promote_first(tmp_path, MODEL, "v2")
    alias = aliases.read(tmp_path, MODEL)
    assert alias is not None
    assert (alias.version, alias.number, alias.reason) == ("v1", 1, "the first version")


def test_of_two_first_versions_one_is_promoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aliases.write(tmp_path, MODEL, "v1", replaces=None)
    # As the slower of two saw it.
    monkeypatch.setattr(aliases, "read", lambda home, model: None)
    assert not aliases.promote_first(tmp_path, MODEL, "v2")
