import configparser
from pathlib import Path

import pytest

from mesh_cli.failures import Failure
from mesh_cli.settings import Site
from mesh_cli.supervisor import Program, fingerprint, read_record, render


def program(*command: str) -> Program:
    return Program("gateway", command, stop_wait_s=40)


def test_the_configuration_holds_what_keeps_a_process_running() -> None:
    text = render([program("python", "-m", "mesh_gateway")], Path("/tmp/a/supervisor.sock"))
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"))
    parser.read_string(text)
    section = parser["program:gateway"]
    assert section["command"] == "python -m mesh_gateway"
    assert section["autorestart"] == "true"
    assert section["stopsignal"] == "TERM"
    assert section["stopwaitsecs"] == "40"
    assert parser["unix_http_server"]["file"] == "/tmp/a/supervisor.sock"
    assert parser["unix_http_server"]["chmod"] == "0700"


def test_commands_keep_their_spaces_and_percent_signs() -> None:
    text = render([program("/a b/100%/python", "-m", "x")], Path("/tmp/s"))
    assert "command='/a b/100%%/python' -m x" in text


def test_a_path_that_the_configuration_would_cut_is_refused() -> None:
    with pytest.raises(Failure, match="can't be used in a path"):
        render([program("/my #1/python")], Path("/tmp/s"))


def test_callers_start_after_the_called_and_end_before_them() -> None:
    first, second = Program("redis", ("a",), 1), Program("gateway", ("b",), 1)
    parser = configparser.RawConfigParser()
    parser.read_string(render([first, second], Path("/tmp/s")))
    assert parser["program:redis"]["priority"] < parser["program:gateway"]["priority"]


def test_what_a_running_mesh_can_not_take_over_changes_its_fingerprint() -> None:
    site = Site.load({"MESH_LOG_LEVEL": "info", "TERM": "xterm"})
    base = fingerprint(site, [program("a")], ["1"])
    assert fingerprint(Site.load({"MESH_LOG_LEVEL": "info"}), [program("a")], ["1"]) == base
    assert fingerprint(Site.load({"MESH_LOG_LEVEL": "debug"}), [program("a")], ["1"]) != base
    assert fingerprint(site, [program("b")], ["1"]) != base
    assert fingerprint(site, [program("a")], ["2"]) != base


@pytest.mark.parametrize("text", ["", "{", "[]", '{"socket": "/tmp/s"}'])
def test_a_record_that_was_cut_short_is_none(tmp_path: Path, text: str) -> None:
    site = Site.load({"MESH_STATE_PATH": str(tmp_path)})
    assert read_record(site) is None
    site.run.mkdir()
    (site.run / "mesh.json").write_text(text)
    assert read_record(site) is None
