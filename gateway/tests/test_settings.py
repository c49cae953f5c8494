"""What the environment may say, and the page that says so."""

from pathlib import Path

import pytest

from mesh_gateway.settings import Settings
from meshkit.settings import SettingsError, reference

README = Path(__file__).parents[1] / "README.md"
NEEDED = {"MESH_REDIS_URL": "redis://127.0.0.1/0", "MESH_HASHING_KEY_PATH": "hashing.key"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)


def test_two_settings_are_enough() -> None:
    settings = Settings.load(NEEDED)
    assert settings.redis_url == "redis://127.0.0.1/0"
    assert settings.hashing_key_path == Path("hashing.key")
    assert (settings.http_port, settings.admin_port) == (8080, 9080)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MESH_REDIS_URL", "http://127.0.0.1", "redis://"),
        ("MESH_REDIS_URL", "redis://127.0.0.1:port", "MESH_GATEWAY_REDIS_URL"),
        ("MESH_GATEWAY_HTTP_PORT", "0", "MESH_GATEWAY_HTTP_PORT=0"),
        ("MESH_GATEWAY_HTTP_PROT", "8080", "unknown setting MESH_GATEWAY_HTTP_PROT"),
        ("MESH_GATEWAY_CLASSIFY_TIMEOUT_S", "0", "greater than 0"),
    ],
)
def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=words):
        Settings.load({**NEEDED, name: value})


def test_the_password_of_redis_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_REDIS_URL", "redis://user:secret@127.0.0.1/0")
    assert "secret" not in str(Settings.load(NEEDED).masked())


def test_the_readme_lists_every_setting() -> None:
    assert reference(Settings) in README.read_text()
