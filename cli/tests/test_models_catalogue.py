"""How a user names a version, and what the store says it has."""

import os
from pathlib import Path

import pytest

from mesh_cli import models_catalogue
from mesh_cli.failures import Failure
from mesh_cli.models_catalogue import Reference
from meshkit import aliases
from small_versions import MODEL, add_version


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A store with two versions, the second in production and the first before it."""
    home = tmp_path / "home"
    for run in ("20260101-000000-aaaaaa", "20260102-000000-bbbbbb"):
        add_version(home, tmp_path / run, run)
    first = aliases.write(home, MODEL, "20260101-000000-aaaaaa", replaces=None)
    aliases.write(home, MODEL, "20260102-000000-bbbbbb", replaces=first)
    return home


@pytest.mark.parametrize(
    ("text", "version", "alias"),
    [
        ("classifier", "20260102-000000-bbbbbb", None),
        ("classifier@production", "20260102-000000-bbbbbb", "production"),
        ("classifier:20260101-000000-aaaaaa", "20260101-000000-aaaaaa", None),
        ("classifier:20260101", "20260101-000000-aaaaaa", None),
    ],
)
def test_a_version_is_found_by_name_by_beginning_and_by_alias(
    home: Path, text: str, version: str, alias: str | None
) -> None:
    assert models_catalogue.find(home, text) == Reference(MODEL, version, alias)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classifier:202601", "may be 20260101-000000-aaaaaa or 20260102-000000-bbbbbb: write"),
        ("classifier:2027", "classifier:2027 is not in the store .*mesh models list shows"),
        ("classifier@canary", r"classifier@canary was never set .*\(aliases of classifier: prod"),
        ("weather", r"weather@production was never set .*\(aliases of weather: none\)"),
        ("a:b:c", "'a:b:c' names no version: write classifier:VERSION or classifier@ALIAS"),
        ("../x", "is not a name"),
        ("", "names no version"),
    ],
)
def test_what_names_no_version_says_why(home: Path, text: str, message: str) -> None:
    with pytest.raises(Failure, match=message):
        models_catalogue.find(home, text)


def test_a_whole_name_wins_over_a_longer_one_that_begins_so(home: Path, tmp_path: Path) -> None:
    add_version(home, tmp_path / "longer", "20260102-000000-bbbbbb-2")
    found = models_catalogue.find(home, "classifier:20260102-000000-bbbbbb")
    assert found.version == "20260102-000000-bbbbbb"


def test_entries_are_newest_first_and_say_what_names_them(home: Path) -> None:
    entries = models_catalogue.entries(home, MODEL)
    assert [(entry.version[:8], entry.aliases, entry.fault) for entry in entries] == [
        ("20260102", ("production",), ""),
        ("20260101", (), ""),
    ]
    assert entries[0].bytes == sum(
        path.stat().st_size for path in (home / "models" / MODEL / entries[0].version).iterdir()
    )
    assert models_catalogue.models(home) == [MODEL]


def test_what_can_not_be_served_is_listed_with_its_fault(home: Path) -> None:
    folder = home / "models" / MODEL / "20260103-000000-cccccc"
    folder.mkdir()
    os.utime(folder, (0, 0))
    (last,) = (each for each in models_catalogue.entries(home, MODEL) if each.fault)
    assert last.version == "20260103-000000-cccccc"
    assert "model.yaml can't be read" in last.fault
    assert last.created.year == 1970


def test_a_damaged_alias_is_told(home: Path) -> None:
    (home / "aliases" / MODEL / "production" / "00000002.json").write_text("{")
    for act in (models_catalogue.entries, models_catalogue.find):
        with pytest.raises(Failure, match=r"00000002.json is damaged .*; restore it"):
            act(home, MODEL)


def test_an_empty_store_has_nothing(tmp_path: Path) -> None:
    assert models_catalogue.models(tmp_path) == []
    assert models_catalogue.entries(tmp_path, MODEL) == []
