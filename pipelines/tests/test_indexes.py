import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mesh_pipelines.indexes import index_urls

VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a pip file below a home and an environment of Python that are the test's own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))

    def write(name: str, content: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("first", range(len(VARIABLES)))
def test_first_variable_that_is_set_holds(first: int) -> None:
    environment = {name: f"http://{name}/" for name in VARIABLES[first:]}
    assert index_urls(environment) == (f"http://{VARIABLES[first]}/",)


def test_empty_variable_counts_as_unset() -> None:
    environment = {"UV_DEFAULT_INDEX": " ", "UV_INDEX_URL": "", "PIP_INDEX_URL": "http://c/"}
    assert index_urls(environment) == ("http://c/",)


def test_variable_may_name_several() -> None:
    assert index_urls({"UV_INDEX_URL": "http://a/ http://b/"}) == ("http://a/", "http://b/")


def test_variables_of_the_process_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://from-process/")
    assert index_urls() == ("http://from-process/",)


def test_variable_wins_over_pip_file(write: Write) -> None:
    write("home/.config/pip/pip.conf", "[global]\nindex-url = http://file/\n")
    assert index_urls({"PIP_INDEX_URL": "http://variable/"}) == ("http://variable/",)


def test_stronger_pip_file_wins(write: Write) -> None:
    strongest_first = [
        write(name, f"[global]\nindex-url = http://{number}/\n")
        for number, name in enumerate(
            [
                "named.conf",
                "prefix/pip.conf",
                "home/.config/pip/pip.conf",
                "home/.pip/pip.conf",
            ]
        )
    ]
    named = {"PIP_CONFIG_FILE": str(strongest_first[0])}
    for number, path in enumerate(strongest_first):
        assert index_urls(named) == (f"http://{number}/",)
        path.unlink()


def test_pip_file_may_stand_in_the_users_configuration_folder(write: Write, tmp_path: Path) -> None:
    write("xdg/pip/pip.conf", "[global]\nindex-url = http://xdg/\n")
    write("home/.config/pip/pip.conf", "[global]\nindex-url = http://default/\n")
    assert index_urls({"XDG_CONFIG_HOME": str(tmp_path / "xdg")}) == ("http://xdg/",)


def test_section_of_the_command_wins(write: Write) -> None:
    write(
        "home/.pip/pip.conf",
        "[global]\nindex-url = http://global/\n[install]\nindex-url = http://install/\n",
    )
    assert index_urls({}) == ("http://install/",)


@pytest.mark.parametrize(
    "content",
    [
        b"index-url = http://no-section/\n",
        b"[global]\nindex-url = http://a/\nindex-url = http://twice/\n",
        b"[global]\nindex-url = \xff\n",
        b"[global]\ntimeout = 60\n",
        b"",
    ],
)
def test_pip_file_without_an_index_is_passed_over(content: bytes, write: Write) -> None:
    write("prefix/pip.conf", "").write_bytes(content)
    write("home/.pip/pip.conf", "[global]\nindex-url = http://next/\n")
    assert index_urls({}) == ("http://next/",)


def test_percent_sign_in_a_pip_file_stands_for_itself(write: Write) -> None:
    write("home/.pip/pip.conf", "[global]\nindex-url = http://me:a%40b@host/simple/\n")
    assert index_urls({}) == ("http://me:a%40b@host/simple/",)
