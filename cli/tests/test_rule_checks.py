"""What promtool is asked, and how it is found."""

import json
import shutil
from pathlib import Path

import pytest

from mesh_cli import promtool, rule_checks
from mesh_cli.failures import Failure


def stand_in(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH, and nothing fetched so far."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(promtool, "FETCHED", tmp_path / "fetched" / "promtool")
    return folder


def test_the_machines_own_is_taken(tools: Path) -> None:
    stand_in(tools, "promtool", "exit 0")
    assert promtool.path() == tools / "promtool"


def test_without_any_it_says_what_to_install(tools: Path) -> None:
    with pytest.raises(Failure, match="there is no promtool: install promtool and put it on PATH"):
        promtool.path()


def test_what_apt_says_is_passed_on(tools: Path) -> None:
    stand_in(tools, "apt-get", "echo 'E: Temporary failure resolving' >&2; exit 100")
    stand_in(tools, "dpkg-deb", "exit 0")
    with pytest.raises(Failure, match=r"\(E: Temporary failure resolving\): install promtool"):
        promtool.path()


def test_it_is_taken_out_of_the_package_once(tools: Path) -> None:
    # apt-get leaves a package where it runs; dpkg-deb is given it and the folder for what is in it.
    stand_in(tools, "apt-get", 'for last; do :; done\n[ "$last" = update ] || : > prometheus_2.deb')
    extract = (
        f'{shutil.which("mkdir", path="/usr/bin:/bin")} -p "$3/usr/bin"\n: > "$3/usr/bin/promtool"'
    )
    stand_in(tools, "dpkg-deb", extract)
    assert promtool.path() == promtool.FETCHED
    assert promtool.FETCHED.is_file()
    assert [each.name for each in promtool.FETCHED.parent.iterdir()] == ["promtool"]
    (tools / "apt-get").unlink()
    assert promtool.path() == promtool.FETCHED


def test_queries_are_those_of_panels_and_annotations(tmp_path: Path) -> None:
    dashboard = {
        "annotations": {"list": [{"name": "built in"}, {"expr": "changes(b[1m])"}]},
        "panels": [
            {"type": "row"},
            {"targets": [{"expr": "rate(a[$__rate_interval]) * $cpu_hour_price"}]},
        ],
    }
    (tmp_path / "one.json").write_text(json.dumps(dashboard))
    found = list(rule_checks.queries(tmp_path))
    assert found == ["rate(a[5m]) * 1", "changes(b[1m])"]
    assert rule_checks.as_rules(found) == {
        "groups": [
            {
                "name": "dashboard",
                "rules": [
                    {"record": "query:0", "expr": "rate(a[5m]) * 1"},
                    {"record": "query:1", "expr": "changes(b[1m])"},
                ],
            }
        ]
    }


def test_every_check_runs_and_a_fault_is_told(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked"
    stand_in(tools, "promtool", f'echo "$1 $2" >> {asked}; echo said; [ "$1" = check ]')
    with pytest.raises(Failure, match="promtool found faults:\nsaid\n\nsaid\n\nsaid"):
        rule_checks.check()
    assert asked.read_text().splitlines() == ["check rules", "check rules", "test rules"]
    stand_in(tools, "promtool", "echo all is well")
    assert rule_checks.check() == "all is well\n\nall is well\n\nall is well\n"
