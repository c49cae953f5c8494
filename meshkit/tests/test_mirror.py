"""A store and its mirror, in a folder, in S3, and on a file system of no special promises."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]  # it carries no types
import pytest

from meshkit import aliases, staging, store
from meshkit.aliases import AliasMoved
from meshkit.mirror import Mirror
from meshkit.mirror_files import Files, FileServer, MirrorError, open_files
from meshkit.store import DamagedVersion, NoVersion
from mirrors import HERE, MODEL, add_version

# More than one chunk of a pull, so that one can be killed within a file.
TEXT = b"0123456789abcdef" * (9 * 1024 * 1024 // 16)


@dataclass(frozen=True)
class Place:
    """Somewhere a mirror can be."""

    url: str
    files: Files

    def read(self, path: str) -> bytes:
        content = self.files.read(path, 0, 2**30)
        assert content is not None
        return content

    def replace(self, path: str, content: bytes, tmp_path: Path) -> None:
        source = tmp_path / "replacement"
        source.write_bytes(content)
        self.files.upload(source, path, lambda _: None)


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty mirror."""
    url = f"file://{tmp_path / 'mirror'}"
    if request.param == "s3":
        url = f"{request.getfixturevalue('s3')}/{tmp_path.name}"
    return Place(url, open_files(url))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store with one version."""
    folder = tmp_path_factory.mktemp("trained")
    return folder / "home", add_version(folder / "home", folder, TEXT)


@pytest.fixture
def home(trained: tuple[Path, str], tmp_path: Path) -> Path:
    """A store of its own with that version."""
    return Path(shutil.copytree(trained[0], tmp_path / "home"))


@pytest.fixture
def version(trained: tuple[Path, str]) -> str:
    """The version in it."""
    return trained[1]


def process(place: Place, home: Path, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / "mirror_process.py"), place.url, str(home)]
    return subprocess.Popen(
        [*command, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def killed_at(step: int, place: Place, home: Path, what: str, version: str) -> bool:
    """Runs a push or pull and kills it at a step; False when it had fewer."""
    with process(place, home, what, version, step) as running:
        assert running.stdout
        word = running.stdout.readline().strip()
        running.kill()
    assert word in ("there", "done")
    return word == "there"


def content(home: Path, version: str) -> dict[str, bytes]:
    folder = home / "models" / MODEL / version
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_pushed_can_be_pulled(
    place: Place, home: Path, version: str, tmp_path: Path
) -> None:
    mirror, other = Mirror(place.url), tmp_path / "other"
    assert mirror.exclusive
    assert (mirror.models(), mirror.versions(MODEL)) == ([], [])
    assert mirror.push(home, MODEL, version)
    assert not mirror.push(home, MODEL, version)
    assert (mirror.models(), mirror.versions(MODEL)) == ([MODEL], [version])
    assert mirror.pull(other, MODEL, version)
    assert not mirror.pull(other, MODEL, version)
    assert content(other, version) == content(home, version)
    assert store.open_version(other, MODEL, version).record["labels"] == ["a", "b"]


def test_a_killed_push_shows_nothing_and_is_taken_up(
    place: Place, home: Path, version: str, tmp_path: Path
) -> None:
    mirror, other = Mirror(place.url), tmp_path / "other"
    step = 1
    while killed_at(step, place, home, "push", version):
        assert mirror.versions(MODEL) == []
        with pytest.raises(NoVersion, match=r"is not in .*; push it there first"):
            mirror.pull(other, MODEL, version)
        assert store.versions(other, MODEL) == []
        step += 1
    assert step > len(content(home, version))  # before and within every file, and the last
    assert mirror.versions(MODEL) == [version]  # the push that was not killed


def test_a_push_leaves_out_what_a_killed_one_has_brought(
    place: Place, home: Path, version: str
) -> None:
    every, again = [], []
    Mirror(place.url).push(home, MODEL, version, progress=lambda *step: every.append(step[0]))
    place_before_last = Place(place.url + "-2", open_files(place.url + "-2"))
    assert killed_at(len(every), place_before_last, home, "push", version)
    Mirror(place_before_last.url).push(
        home, MODEL, version, progress=lambda *step: again.append(step[0])
    )
    assert again == [f"{version}.json"]


def test_a_killed_pull_shows_nothing_and_goes_on_within_a_file(
    place: Place, home: Path, version: str, tmp_path: Path
) -> None:
    mirror, other = Mirror(place.url), tmp_path / "other"
    mirror.push(home, MODEL, version)
    steps: list[tuple[str, int, int]] = []
    mirror.pull(tmp_path / "counted", MODEL, version, progress=lambda *step: steps.append(step))
    within = next(index for index, (_, done, _) in enumerate(steps) if done)
    assert killed_at(within + 1, place, other, "pull", version)
    assert store.versions(other, MODEL) == []
    resumed: list[tuple[str, int, int]] = []
    mirror.pull(other, MODEL, version, progress=lambda *step: resumed.append(step))
    name, done, size = resumed[0]
    assert (name, size) == ("vocabulary.txt", len(TEXT))
    assert done <= steps[within][1]  # what was on its way to the disk may be lost, not more
    assert content(other, version) == content(home, version)
    assert not (staging.folder(other) / "models" / MODEL / version).exists()


def test_of_many_promoters_one_wins_and_the_others_are_told(
    place: Place, home: Path, version: str
) -> None:
    promoters = [process(place, home, "promote", version, f"number {n}") for n in range(4)]
    for each in promoters:
        assert each.stdout
        assert each.stdout.readline() == "ready\n"
    for each in promoters:
        assert each.stdin
        each.stdin.write("go\n")
        each.stdin.flush()
    said = [each.communicate()[0].strip() for each in promoters]
    assert sorted(said) == ["told"] * 3 + ["won"]
    assert Mirror(place.url).numbers(MODEL, "production") == [1]
    alias = json.loads(place.read("aliases/classifier/production/00000001.json"))
    assert alias["reason"] == f"number {said.index('won')}"


def test_a_promotion_reaches_another_machine_with_its_version(
    place: Place, home: Path, version: str, tmp_path: Path
) -> None:
    mirror, other = Mirror(place.url), tmp_path / "other"
    assert mirror.pull_alias(other, MODEL, "production") is None
    first = aliases.write(home, MODEL, version, replaces=None, reason="first")
    newer = add_version(home, tmp_path)
    second = aliases.write(home, MODEL, newer, replaces=first, reason="second")
    mirror.push(home, MODEL, newer)
    assert mirror.push_alias(home, MODEL, "production") == 2
    assert mirror.push_alias(home, MODEL, "production") == 0

    assert mirror.pull_alias(other, MODEL, "production") == second
    assert store.resolve(other, MODEL).name == newer
    assert aliases.read_number(other, MODEL, "production", 1) == first
    assert store.versions(other, MODEL) == [newer]  # only what it names now


def test_an_alias_never_moves_to_a_version_that_can_not_be_had(
    place: Place, home: Path, version: str, tmp_path: Path
) -> None:
    mirror, other = Mirror(place.url), tmp_path / "other"
    aliases.write(home, MODEL, version, replaces=None)
    mirror.push_alias(home, MODEL, "production")
    with pytest.raises(NoVersion, match="push it there first"):
        mirror.pull_alias(other, MODEL, "production")
    assert aliases.read(other, MODEL) is None


def test_the_same_move_may_be_made_twice_and_another_may_not(
    place: Place, home: Path, version: str
) -> None:
    mirror = Mirror(place.url)
    move = aliases.following(None, MODEL, version, reason="mine")
    mirror.create_alias(move)
    mirror.create_alias(move)  # its first answer was lost on the way
    with pytest.raises(AliasMoved, match="moved by somebody else meanwhile"):
        mirror.create_alias(aliases.following(None, MODEL, version, reason="yours"))


def test_stores_that_were_promoted_apart_are_told(
    place: Place, home: Path, version: str, tmp_path: Path
) -> None:
    mirror, other = Mirror(place.url), tmp_path / "other"
    aliases.write(home, MODEL, version, replaces=None, reason="here")
    aliases.write(other, MODEL, version, replaces=None, reason="there")
    mirror.push(home, MODEL, version)
    mirror.push_alias(home, MODEL, "production")
    for act in (mirror.pull_alias, mirror.push_alias):
        with pytest.raises(AliasMoved, match="number 1 of classifier@production is one thing in"):
            act(other, MODEL, "production")


def test_a_damaged_copy_is_not_pulled_and_can_be_mended(
    place: Place, home: Path, version: str, tmp_path: Path
) -> None:
    mirror, other = Mirror(place.url), tmp_path / "other"
    mirror.push(home, MODEL, version)
    path = f"models/{MODEL}/{version}/vocabulary.txt"
    for wrong in (TEXT[:-1] + b"x", TEXT[:-1]):
        place.replace(path, wrong, tmp_path)
        with pytest.raises(DamagedVersion, match=r"not what was pushed|bytes instead of"):
            mirror.pull(other, MODEL, version)
        assert store.versions(other, MODEL) == []
    assert mirror.push(home, MODEL, version, again=True)
    assert mirror.pull(other, MODEL, version)
    assert content(other, version) == content(home, version)


def test_what_is_damaged_here_is_not_pushed(place: Place, home: Path, version: str) -> None:
    (home / "models" / MODEL / version / "vocabulary.txt").write_bytes(b"other")
    with pytest.raises(DamagedVersion, match="SHA-256"):
        Mirror(place.url).push(home, MODEL, version)
    assert Mirror(place.url).versions(MODEL) == []


def test_a_version_never_changes(place: Place, home: Path, version: str, tmp_path: Path) -> None:
    mirror, other = Mirror(place.url), tmp_path / "other"
    mirror.push(home, MODEL, version)
    newer = add_version(other, tmp_path)
    folder = other / "models" / MODEL
    text = (folder / newer / "model.yaml").read_text().replace(newer, version)
    (folder / newer / "model.yaml").write_text(text)
    (folder / newer).rename(folder / version)
    with pytest.raises(MirrorError, match=f"has another classifier:{version}; a version never"):
        mirror.push(other, MODEL, version)


def renamed(name: str) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        manifest["files"][name] = manifest["files"].pop("vocabulary.txt")

    return change


def negative(manifest: dict[str, Any]) -> None:
    manifest["files"]["vocabulary.txt"]["bytes"] = -1


def cut_short(manifest: dict[str, Any]) -> None:
    manifest["cut"] = True


def newer_format(manifest: dict[str, Any]) -> None:
    manifest["format"] = 2


def no_record(manifest: dict[str, Any]) -> None:
    del manifest["files"]["model.yaml"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed("../../vocabulary.txt"), r"names the file '../../vocabulary.txt'"),
        (renamed("model.pkl"), "names the file 'model.pkl', which no version has"),
        (negative, "is damaged .*>= 0"),
        (cut_short, r"is damaged .*; delete it, push again"),
        (newer_format, "has format 2 and this release reads 1"),
        (no_record, "model.yaml can't be read"),
    ],
)
def test_a_hostile_manifest_is_refused(
    change: Callable[[dict[str, Any]], None],
    message: str,
    home: Path,
    version: str,
    tmp_path: Path,
) -> None:
    mirror, other = Mirror(str(tmp_path / "mirror")), tmp_path / "other"
    mirror.push(home, MODEL, version)
    path = tmp_path / "mirror" / "manifests" / MODEL / f"{version}.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest)[: -9 if "cut" in manifest else None])
    with pytest.raises((MirrorError, DamagedVersion), match=message):
        mirror.pull(other, MODEL, version)
    assert not (other / "models").exists()
    assert {path.name for path in tmp_path.iterdir()} <= {"home", "mirror", "other"}


@pytest.mark.parametrize("name", ["..", "a/b", "", "Upper"])
def test_a_name_never_leads_elsewhere(name: str, home: Path, tmp_path: Path) -> None:
    mirror = Mirror(str(tmp_path / "mirror"))
    for act in (mirror.push, mirror.pull):
        with pytest.raises((aliases.BadAlias, NoVersion, DamagedVersion)):
            act(home, MODEL, name)
    with pytest.raises(aliases.BadAlias):
        mirror.versions(name)
    with pytest.raises(aliases.BadAlias):
        mirror.numbers(MODEL, name)


def test_uploads_that_were_killed_long_ago_are_swept(
    home: Path, version: str, tmp_path: Path
) -> None:
    unfinished = tmp_path / "mirror" / "uploading"
    unfinished.mkdir(parents=True)
    for name, age_s in (("old", 25 * 3600), ("young", 3600)):
        (unfinished / name).write_bytes(b"half")
        changed = (unfinished / name).stat().st_mtime - age_s
        os.utime(unfinished / name, (changed, changed))
    Mirror(str(tmp_path / "mirror")).push(home, MODEL, version)
    assert [path.name for path in unfinished.iterdir()] == ["young"]


def test_other_file_systems_carry_versions_and_say_that_they_are_not_exclusive(
    home: Path, version: str, tmp_path: Path
) -> None:
    # fsspec's own view of the disk stands for a server of which nothing special is known.
    root = tmp_path / "mirror"
    mirror, other = Mirror(str(root)), tmp_path / "other"
    mirror._files = FileServer(fsspec.filesystem("file"), str(root), "test://server")
    assert not mirror.exclusive
    aliases.write(home, MODEL, version, replaces=None)
    mirror.push(home, MODEL, version)
    mirror.push_alias(home, MODEL, "production")
    assert mirror.versions(MODEL) == [version]
    assert mirror.pull_alias(other, MODEL, "production") == aliases.read(home, MODEL)
    assert content(other, version) == content(home, version)
    with pytest.raises(AliasMoved):
        mirror.create_alias(aliases.following(None, MODEL, version, reason="another"))


def test_addresses_that_can_not_be_used(s3: str, tmp_path: Path) -> None:
    with pytest.raises(MirrorError, match="models is a relative path; give an absolute one"):
        Mirror("models")
    with pytest.raises(MirrorError, match=r"nosuch://host/x can't be opened .*install the package"):
        Mirror("nosuch://user:hidden@host/x")
    with pytest.raises(MirrorError, match=r"s3://nowhere/x can't be listed|written"):
        Mirror("s3://nowhere/x").create_alias(aliases.following(None, MODEL, "a"))
