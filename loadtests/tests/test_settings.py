import re
from dataclasses import fields
from pathlib import Path

import pytest

from mesh_load.settings import PREFIX, Settings, SettingsError


def of(**given: str) -> Settings:
    return Settings.load(given)


def test_the_mesh_of_make_up_is_asked_by_itself(tmp_path: Path) -> None:
    key = tmp_path / "secrets" / "development.key"
    key.parent.mkdir()
    key.write_text("mesh_a_b\n")
    found = of(MESH_STATE_PATH=str(tmp_path), MESH_GATEWAY_HTTP_PORT="8090")
    assert found.url == "http://127.0.0.1:8090"
    assert found.grpc_url == "grpc://127.0.0.1:8081"
    assert found.key == "mesh_a_b"
    assert found.output_path == tmp_path / "load"


def test_another_mesh_is_asked_over_grpc_only_where_its_door_is_named() -> None:
    found = of(MESH_LOAD_URL="https://mesh.example/", MESH_LOAD_KEY="k")
    assert (found.url, found.grpc_url) == ("https://mesh.example", None)
    found = of(
        MESH_LOAD_URL="https://mesh.example",
        MESH_LOAD_KEY="k",
        MESH_LOAD_GRPC_URL="grpcs://mesh.example:8081",
    )
    assert found.grpc_url == "grpcs://mesh.example:8081"


def test_the_settings_survive_the_environment() -> None:
    found = of(
        MESH_LOAD_URL="https://mesh.example",
        MESH_LOAD_KEY="k",
        MESH_LOAD_CA_PATH="/certificates/ca.crt",
        MESH_LOAD_RATES_PER_S="5, 10",
        MESH_LOAD_STEP_S="30",
        MESH_LOAD_PROCESSES="4",
        MESH_LOAD_OUTPUT_PATH="/reports",
    )
    assert found.rates_per_s == (5, 10)
    assert (found.step_s, found.processes) == (30, 4)
    assert Settings.load(found.environment()) == found


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"MESH_LOAD_URLS": "x"}, "unknown setting MESH_LOAD_URLS; there are MESH_LOAD_CA_PATH"),
        ({"MESH_LOAD_URL": "mesh.example"}, "MESH_LOAD_URL='mesh.example' is not of the form http"),
        ({"MESH_LOAD_URL": "http://h/v1"}, "MESH_LOAD_URL='http://h/v1' is not of the form http"),
        ({"MESH_LOAD_KEY": ""}, "MESH_LOAD_KEY is not set: name an API key of https://h"),
        ({"MESH_LOAD_GRPC_URL": "h:1"}, "MESH_LOAD_GRPC_URL='h:1' is not of the form grpc://"),
        ({"MESH_LOAD_RATES_PER_S": "5,,6"}, "MESH_LOAD_RATES_PER_S='5,,6': use whole numbers over"),
        ({"MESH_LOAD_STEP_S": "0"}, "MESH_LOAD_STEP_S='0': use whole numbers over 0, such as 15"),
        ({"MESH_LOAD_STEP_S": "1,2"}, "MESH_LOAD_STEP_S='1,2' is more than one number"),
    ],
)
def test_a_wrong_setting_is_named(given: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as error:
        of(**{"MESH_LOAD_URL": "https://h", "MESH_LOAD_KEY": "k", **given})
    assert str(error.value).startswith(said)


def test_without_a_mesh_the_remedy_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="run `make up`, or set MESH_LOAD_URL"):
        of(MESH_STATE_PATH=str(tmp_path))


def test_the_readme_names_every_setting() -> None:
    page = (Path(__file__).resolve().parents[1] / "README.md").read_text()
    named = re.findall(r"^\| `(MESH_LOAD_[A-Z_]+)` \|", page, re.MULTILINE)
    assert named == [f"{PREFIX}{field.name.upper()}" for field in fields(Settings)]
