"""`mesh models` as a user runs it: what it prints, and what it leaves in the store."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mesh_cli import models, models_commands, models_mirror
from mesh_cli.failures import Failure
from mesh_cli.settings import Site
from meshkit import aliases, store
from meshkit.errors import StartError
from small_versions import MODEL, add_version

A1, B2 = "20260101-000000-aaaaaa", "20260102-000000-bbbbbb"


class Mesh:
    """The command, for one site."""

    def __init__(self, site: Site) -> None:
        self.environment = site.process_environment()
        self.home = site.models

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "mesh_cli", "models", *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> str:
        """Runs a command that does what it is told, in this process."""
        result = CliRunner().invoke(models_commands.app, words, env=self.environment)
        assert result.exit_code == 0, result.exception
        return result.stdout

    def refused(self, *words: str) -> str:
        """Runs a command that does not, in this process, and returns what the user is told."""
        result = CliRunner().invoke(models_commands.app, words, env=self.environment)
        assert isinstance(result.exception, Failure | StartError | OSError), result.output
        return str(result.exception)


@pytest.fixture
def mesh(site: Site, tmp_path: Path) -> Mesh:
    """A site with two versions; the older one is in production."""
    add_version(site.models, tmp_path / "files", A1)
    better = {"accuracy": 0.75, "macro_f1": 0.65, "texts": 100.0}
    settings = {"recipe": "full", "seed": 20}
    add_version(site.models, tmp_path / "files", B2, metrics=better, settings=settings)
    aliases.write(site.models, MODEL, A1, replaces=None, reason="the first version")
    return Mesh(site)


def test_list_shows_versions_and_what_names_them(mesh: Mesh) -> None:
    lines = mesh.run("list").splitlines()
    assert lines[0].split() == [
        *("VERSION", "ALIASES", "SAVED", "(UTC)", "SIZE", "RECIPE", "MACRO-F1", "STATE")
    ]
    assert [line.split()[:2] for line in lines[1:]] == [
        [f"classifier:{B2}", "-"],
        [f"classifier:{A1}", "production"],
    ]
    newest, oldest = json.loads(mesh.run("list", "classifier", "--json"))["versions"]
    assert (newest["version"], newest["aliases"], newest["fault"]) == (B2, [], None)
    assert (oldest["aliases"], oldest["metrics"]["macro_f1"]) == (["production"], 0.6)


def test_an_empty_store_says_how_to_fill_it(site: Site) -> None:
    assert "mesh models train classifier makes one" in Mesh(site).run("list")
    assert json.loads(Mesh(site).run("list", "--json")) == {"versions": []}


def test_show_tells_all_that_is_known(mesh: Mesh) -> None:
    text = mesh.run("show", "classifier")
    for part in (
        A1,
        "production",
        "c0ffee",
        "macro_f1",
        "abab",
        "config.json",
        "the first version",
    ):
        assert part in text
    known = json.loads(mesh.run("show", "classifier:20260101", "--verify", "--json"))
    assert known["aliases"] == ["production"]
    assert known["record"]["sources"]["rated-texts"]["version"] == "1"
    assert {file["name"]: file["sha256"] for file in known["files"]} == dict(
        store.open_version(mesh.home, MODEL, A1).hashes
    )
    (replica,) = known["serving"]
    assert (replica["version"], replica["fault"]) == ("", "does not answer (unavailable)")
    (move,) = known["history"]["production"]
    assert (move["number"], move["version"], move["reason"]) == (1, A1, "the first version")


def test_show_verifies_files_where_it_is_asked_to(mesh: Mesh) -> None:
    (mesh.home / "models" / MODEL / A1 / "config.json").write_text("{}")
    mesh.run("show", "classifier")
    assert "config.json has SHA-256" in mesh.refused("show", "classifier", "--verify")


def test_show_puts_nothing_into_the_terminal_but_text(mesh: Mesh, tmp_path: Path) -> None:
    evil = {"recipe": "a\x1b]0;owned\x07b", "lines": "one\ntwo"}
    add_version(mesh.home, tmp_path / "files", "c3", settings=evil)
    page = mesh.run("show", "classifier:c3")
    assert "a?]0;owned?b" in page
    assert "one?two" in page
    assert "owned" in mesh.run("list")


def test_show_names_files_that_are_missing(mesh: Mesh) -> None:
    (mesh.home / "models" / MODEL / A1 / "config.json").unlink()
    lines = [line.split()[:2] for line in mesh.run("show", "classifier").splitlines()]
    assert ["config.json", "missing"] in lines


def test_diff_puts_two_versions_side_by_side(mesh: Mesh) -> None:
    lines = [
        line.split() for line in mesh.run("diff", "classifier", f"classifier:{B2}").splitlines()
    ]
    assert ["metrics.accuracy", "0.7", "0.75", "+0.05"] in lines
    assert ["settings.recipe", "quick", "full"] in lines
    assert ["metrics.calibration_error", "0.03", "-"] in lines
    assert not any("seed" in word for line in lines for word in line)
    content = json.loads(mesh.run("diff", "classifier", f"classifier:{B2}", "--json"))
    assert content["differences"]["settings.recipe"] == {"old": "quick", "new": "full"}


def test_rollback_makes_a_new_move_and_rewrites_nothing(mesh: Mesh) -> None:
    first = aliases.read(mesh.home, MODEL)
    second = aliases.write(mesh.home, MODEL, B2, replaces=first, reason="better")
    assert "is classifier:20260101-000000-aaaaaa again" in mesh.run(
        "rollback", "classifier", "--reason", "too slow"
    )
    third = aliases.read(mesh.home, MODEL)
    assert third is not None
    assert (third.number, third.version, third.reason) == (3, A1, "rolled back: too slow")
    assert third.author.partition("@")[2]
    assert third.details == {"rolled_back_from": B2}
    assert [aliases.read_number(mesh.home, MODEL, "production", n) for n in (1, 2)] == [
        first,
        second,
    ]


def test_rollback_says_what_it_can_not_do(mesh: Mesh) -> None:
    assert "has named no other version than" in mesh.refused("rollback", "classifier")
    assert "has not named" in mesh.refused("rollback", "classifier", "--to", B2)
    assert "classifier@canary was never set" in mesh.refused("rollback", "classifier@canary")


def test_rollback_does_not_go_to_a_damaged_version(mesh: Mesh) -> None:
    aliases.write(mesh.home, MODEL, B2, replaces=aliases.read(mesh.home, MODEL))
    (mesh.home / "models" / MODEL / A1 / "config.json").write_text("{}")
    assert "config.json has SHA-256" in mesh.refused("rollback", "classifier")
    current = aliases.read(mesh.home, MODEL)
    assert current is not None
    assert current.version == B2


def test_of_several_that_move_an_alias_one_wins_and_the_others_are_told(mesh: Mesh) -> None:
    aliases.write(mesh.home, MODEL, B2, replaces=aliases.read(mesh.home, MODEL))
    processes = [
        mesh.start("rollback", "classifier", "--replaces", "2", "--reason", str(number))
        for number in range(4)
    ]
    said = [process.communicate()[1] for process in processes]
    winners = [number for number in range(4) if processes[number].returncode == 0]
    assert len(winners) == 1
    assert aliases.numbers(mesh.home, MODEL) == [1, 2, 3]
    current = aliases.read(mesh.home, MODEL)
    assert current is not None
    assert current.reason == f"rolled back: {winners[0]}"
    for number in {*range(4)} - {*winners}:
        assert "is at number 3 by now" in said[number] or "moved by somebody else" in said[number]


def test_export_and_import_carry_a_version_to_another_store(mesh: Mesh, tmp_path: Path) -> None:
    archive = tmp_path / "version.zip"
    assert f"{archive} holds classifier:{A1}" in mesh.run("export", "classifier", str(archive))
    other = Mesh(Site.load({**mesh.environment, "MESH_MODELS_PATH": str(tmp_path / "other")}))
    assert f"mesh models promote classifier:{A1}" in other.run("import", str(archive))
    assert store.versions(other.home, MODEL) == [A1]
    assert "is in the store already" in other.refused("import", str(archive))
    assert "more than 0: raise --max-gb" in other.refused("import", str(archive), "--max-gb", "0")
    assert "No such file" in other.refused("import", str(tmp_path / "none.zip"))


def test_gc_shows_first_and_removes_when_told_to(mesh: Mesh) -> None:
    everything = ("gc", "--keep", "1", "--days", "0", "--grace-days", "0")
    assert "0 versions with 0 B would be removed" in mesh.run("gc")
    aliases.write(mesh.home, MODEL, B2, replaces=aliases.read(mesh.home, MODEL))
    assert "production would be rolled back to it" in mesh.run(*everything)
    for alias in (mesh.home / "aliases").rglob("*.json"):
        alias.unlink()
    shown = json.loads(mesh.run(*everything, "--json"))
    assert (shown["removed"], shown["versions"]) == (False, [f"classifier:{A1}"])
    assert store.versions(mesh.home, MODEL) == [A1, B2]
    assert "1 versions with" in mesh.run(*everything, "--yes")
    assert store.versions(mesh.home, MODEL) == [B2]


def machine(mesh: Mesh, name: str, tmp_path: Path, variables: Mapping[str, str]) -> Mesh:
    return Mesh(
        Site.load({**mesh.environment, **variables, "MESH_MODELS_PATH": str(tmp_path / name)})
    )


def test_a_promotion_travels_by_the_mirror(mesh: Mesh, tmp_path: Path) -> None:
    assert "there is no mirror: set MESH_MODELS_URL" in mesh.refused("push")
    url = {"MESH_MODELS_URL": str(tmp_path / "mirror")}
    here = Mesh(Site.load({**mesh.environment, **url}))
    other = machine(mesh, "other", tmp_path, url)
    assert "nothing to pull from" in other.run("pull")
    assert f"classifier@production is classifier:{A1} in {tmp_path}/mirror" in here.run("push")
    assert f"classifier@production is classifier:{A1}" in other.run("pull")
    assert store.resolve(other.home, MODEL).name == A1

    here.run("push", f"classifier:{B2}")
    assert "was already in" in here.run("push", f"classifier:{B2}")
    other.run("pull", f"classifier:{B2}")
    assert store.versions(other.home, MODEL) == [A1, B2]
    assert "push it there first" in other.refused("pull", "classifier:none")


def test_a_rollback_on_one_machine_is_seen_by_the_other_and_decided_in_the_mirror(
    mesh: Mesh, tmp_path: Path
) -> None:
    url = {"MESH_MODELS_URL": str(tmp_path / "mirror")}
    here = Mesh(Site.load({**mesh.environment, **url}))
    other = machine(mesh, "other", tmp_path, url)
    aliases.write(mesh.home, MODEL, B2, replaces=aliases.read(mesh.home, MODEL))
    here.run("push")
    here.run("push", f"classifier:{A1}")
    racers = [site.start("rollback", "classifier", "--replaces", "2") for site in (here, other)]
    said = [racer.communicate()[1] for racer in racers]
    assert sorted(racer.returncode for racer in racers) == [0, 1], said
    for site in (here, other):
        site.run("pull")
        current = aliases.read(site.home, MODEL)
        assert current is not None
        assert (current.number, current.version) == (3, A1)
        store.resolve(site.home, MODEL)


def test_a_store_and_a_mirror_that_contradict_each_other_are_told(
    mesh: Mesh, tmp_path: Path
) -> None:
    url = {"MESH_MODELS_URL": str(tmp_path / "mirror")}
    here = Mesh(Site.load({**mesh.environment, **url}))
    here.run("push")
    path = aliases.folder(mesh.home, MODEL, "production") / aliases.file_name(1)
    path.write_text(path.read_text().replace("the first version", "another story"))
    for words in (("push",), ("pull",), ("rollback", "classifier")):
        assert "is one thing in" in here.refused(*words)


def test_a_machine_that_follows_gets_a_promotion_as_it_is_made(mesh: Mesh, tmp_path: Path) -> None:
    url = {"MESH_MODELS_URL": str(tmp_path / "mirror")}
    here = Mesh(Site.load({**mesh.environment, **url}))
    other = machine(mesh, "other", tmp_path, url)
    follower = other.start("pull", "--follow")
    assert follower.stdout
    try:
        here.run("push")
        assert follower.stdout.readline() == f"classifier@production is classifier:{A1}\n"
        assert store.resolve(other.home, MODEL).name == A1
        damaged = tmp_path / "mirror" / "aliases" / MODEL / "production" / "00000002.json"
        damaged.write_text("{")
        assert "00000002.json is damaged" in follower.stdout.readline()
        damaged.unlink()
        aliases.write(mesh.home, MODEL, B2, replaces=aliases.read(mesh.home, MODEL))
        here.run("push")
        assert follower.stdout.readline() == f"classifier@production is classifier:{B2}\n"
    finally:
        follower.kill()
        follower.communicate()


def test_moves_that_were_made_without_the_mirror_go_there_first(mesh: Mesh, tmp_path: Path) -> None:
    url = {"MESH_MODELS_URL": str(tmp_path / "mirror")}
    here = Mesh(Site.load({**mesh.environment, **url}))
    other = machine(mesh, "other", tmp_path, url)
    aliases.write(mesh.home, MODEL, B2, replaces=aliases.read(mesh.home, MODEL))
    here.run("push", f"classifier:{A1}")
    here.run("rollback", "classifier")
    other.run("pull")
    assert aliases.numbers(other.home, MODEL) == [1, 2, 3]
    other.run("rollback", "classifier")  # to what the first machine had promoted alone
    current = aliases.read(other.home, MODEL)
    assert current is not None
    assert (current.number, current.version) == (4, B2)


def test_a_damaged_version_can_be_rolled_back_from(mesh: Mesh, tmp_path: Path) -> None:
    url = {"MESH_MODELS_URL": str(tmp_path / "mirror")}
    here = Mesh(Site.load({**mesh.environment, **url}))
    aliases.write(mesh.home, MODEL, B2, replaces=aliases.read(mesh.home, MODEL))
    here.run("push")
    (mesh.home / "models" / MODEL / B2 / "config.json").write_text("{}")
    here.run("rollback", "classifier")
    assert store.resolve(mesh.home, MODEL).name == A1


def test_a_new_machine_gets_what_is_in_production_elsewhere(mesh: Mesh, tmp_path: Path) -> None:
    url = {"MESH_MODELS_URL": str(tmp_path / "mirror")}
    Mesh(Site.load({**mesh.environment, **url})).run("push")
    site = Site.load({**mesh.environment, **url, "MESH_MODELS_PATH": str(tmp_path / "other")})
    assert not models.has_production(site, MODEL)
    models_mirror.bring_production(site, MODEL)
    assert models.has_production(site, MODEL)
    alone = Site.load({**mesh.environment, "MESH_MODELS_PATH": str(tmp_path / "third")})
    models_mirror.bring_production(alone, MODEL)
    assert not models.has_production(alone, MODEL)


def test_a_secret_in_the_address_is_not_shown(mesh: Mesh) -> None:
    secret = {"MESH_MODELS_URL": "nosuch://user:hidden@host/models"}
    site = Mesh(Site.load({**mesh.environment, **secret}))
    assert "nosuch://host/models can't be opened" in site.refused("push")
    assert "hidden" not in site.refused("push")


def test_the_command_line_starts_without_what_a_promotion_needs() -> None:
    code = "import sys, mesh_cli.__main__; print({'onnx', 'numpy', 'fsspec'} & {*sys.modules})"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert shown.stdout.strip() == "set()"
