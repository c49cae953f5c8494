"""Which versions stay and which go, over stores that hypothesis makes and real ones."""

import fcntl
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_cli import models_gc
from mesh_cli.failures import Failure
from mesh_cli.models_gc import Policy, rollback_target
from meshkit import aliases, staging, store
from meshkit.aliases import Alias
from small_versions import MODEL, add_version

NOW = datetime.now(UTC)
NOTHING = Policy(newest=1, age=timedelta(), grace=timedelta())


def aged(home: Path, version: str, days: float) -> None:
    """Makes a version look as old as that."""
    path = home / "models" / MODEL / version / "model.yaml"
    old = store.read_version(home, MODEL, version).created
    path.write_text(path.read_text().replace(old, (NOW - timedelta(days=days)).isoformat()))


def moved(home: Path, *moves: tuple[str, float], name: str = "production") -> None:
    """Writes the history of an alias: the versions it named, each with its age in days."""
    folder = aliases.folder(home, MODEL, name)
    folder.mkdir(parents=True)
    for number, (version, days) in enumerate(moves, 1):
        created = (NOW - timedelta(days=days)).isoformat(timespec="seconds")
        alias = Alias(MODEL, name, number, version, created, "")
        (folder / aliases.file_name(number)).write_bytes(alias.to_bytes())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A store with the versions v1 to v6; v6 is the newest, and a day old."""
    for number in range(1, 7):
        add_version(tmp_path / "home", tmp_path / "files", f"v{number}")
        aged(tmp_path / "home", f"v{number}", 7 - number)
    return tmp_path / "home"


def kept(home: Path, policy: Policy) -> dict[str, str]:
    decisions = models_gc.decide(home, policy, NOW)
    return {each.entry.version: each.kept_for for each in decisions if each.kept_for}


def test_without_an_alias_the_newest_and_the_young_stay(home: Path) -> None:
    assert kept(home, NOTHING) == {"v6": "one of the newest 1"}
    assert set(kept(home, Policy(3, timedelta(), timedelta()))) == {"v4", "v5", "v6"}
    young = kept(home, Policy(1, timedelta(days=3.5), timedelta()))
    assert young["v4"] == "younger than 3 days"
    assert set(young) == {"v4", "v5", "v6"}


def test_what_an_alias_names_and_would_be_rolled_back_to_stays_for_ever(home: Path) -> None:
    moved(home, ("v1", 900), ("v2", 800), ("v3", 700), ("v3", 650), ("gone", 600), ("v2", 500))
    moved(home, ("v4", 400), name="canary")
    assert kept(home, NOTHING) == {
        "v2": "production names it",
        "v4": "canary names it",
        "v6": "one of the newest 1",
    }  # what production would be rolled back to is gone already
    moved(home, ("v1", 900), ("v3", 800), name="shadow")
    assert kept(home, NOTHING)["v1"] == "shadow would be rolled back to it"


def test_what_an_alias_named_within_the_grace_stays(home: Path) -> None:
    # v1 was in production until 20 days ago, v2 until 10 days ago.
    moved(home, ("v1", 90), ("v2", 20), ("v3", 10), ("v5", 2))
    graced = kept(home, Policy(1, timedelta(), timedelta(days=15)))
    assert graced == {
        "v2": "production named it within 15 days",
        "v3": "production would be rolled back to it",
        "v5": "production names it",
        "v6": "one of the newest 1",
    }
    assert "v1" in kept(home, Policy(1, timedelta(), timedelta(days=21)))


def test_collecting_removes_what_it_said_and_nothing_else(home: Path) -> None:
    moved(home, ("v1", 90), ("v2", 80))
    gone = models_gc.collect(home, NOTHING)
    assert {entry.version for entry in gone} == {"v3", "v4", "v5"}
    assert store.versions(home, MODEL) == ["v1", "v2", "v6"]
    for version in ("v1", "v2", "v6"):
        store.open_version(home, MODEL, version)
    assert list((home / "staging").iterdir()) == []
    assert models_gc.collect(home, NOTHING) == []


def test_nothing_is_removed_while_an_alias_is_damaged(home: Path) -> None:
    moved(home, ("v1", 90), ("v2", 80))
    path = aliases.folder(home, MODEL, "production") / aliases.file_name(1)
    path.write_text(json.dumps({"model": MODEL}))
    with pytest.raises(Failure, match=r"00000001.json is damaged"):
        models_gc.collect(home, NOTHING)
    assert len(store.versions(home, MODEL)) == 6


def test_what_a_training_is_still_writing_stays_and_what_it_left_goes(home: Path) -> None:
    folders = [home / "models" / MODEL / name for name in ("writing", "left")]
    for folder in folders:
        folder.mkdir()
        (folder / "model.fp32.onnx").write_bytes(b"half")
    two_days_ago = NOW.timestamp() - 2 * 86400
    os.utime(folders[1], (two_days_ago, two_days_ago))
    assert kept(home, NOTHING) == {
        "v6": "one of the newest 1",
        "writing": "younger than 1 days",
    }


def test_what_killed_imports_left_goes_after_a_day(home: Path) -> None:
    for name, age_s in (("old", 25 * 3600), ("young", 3600)):
        folder = home / "staging" / "models" / MODEL / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_bytes(b"half")
        for path in (folder / "config.json", folder):
            os.utime(path, (NOW.timestamp() - age_s,) * 2)
    models_gc.collect(home, NOTHING)
    assert [path.name for path in (home / "staging" / "models" / MODEL).iterdir()] == ["young"]


def test_an_alias_waits_while_versions_are_removed(home: Path) -> None:
    with (
        staging.changing(home),
        (home / "lock").open("w") as other,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@given(
    history=st.lists(st.sampled_from(["v1", "v2", "v3", "v4"]), min_size=1, max_size=8),
    newest=st.integers(1, 3),
)
def test_an_alias_and_its_rollback_target_always_stay(history: list[str], newest: int) -> None:
    """Whatever the history, both of them are named as kept."""
    moves = [
        Alias(MODEL, "production", number, version, f"2020-01-0{number}T00:00:00+00:00", "")
        for number, version in enumerate(history, 1)
    ]
    target = rollback_target(moves)
    others = [version for version in history if version != history[-1]]
    assert (target.version if target else None) == (others[-1] if others else None)
