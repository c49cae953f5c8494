import os
from pathlib import Path

import pytest
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from meshkit.settings import SHARED, ServiceSettings, Settings, SettingsError, reference


class Example(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="MESH_CLASSIFIER_")

    admin_port: int = 9061
    """Port of the metrics."""
    grpc_port: int = 50061
    """Port of the service."""
    redis_url: str = Field(default="redis://127.0.0.1/0", json_schema_extra=SHARED)
    """Where Redis is."""
    token: SecretStr = SecretStr("")
    """A secret."""


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MESH_"):
            monkeypatch.delenv(name)


def load(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Example:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Example.load()


def test_defaults() -> None:
    settings = Example.load()
    assert settings.grpc_port == 50061
    assert settings.log_level == "info"
    assert settings.drain_delay_s == 0


def test_the_processs_own_name_wins_over_the_shared_one(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        MESH_LOG_LEVEL="debug",
        MESH_DRAIN_DELAY_S="5",
        MESH_CLASSIFIER_DRAIN_DELAY_S="1.5",
        MESH_REDIS_URL="redis://elsewhere/1",
    )
    assert settings.log_level == "debug"
    assert settings.drain_delay_s == 1.5
    assert settings.redis_url == "redis://elsewhere/1"


def test_a_field_that_is_not_shared_is_not_read_from_a_shared_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SettingsError, match="unknown setting MESH_GRPC_PORT"):
        load(monkeypatch, MESH_GRPC_PORT="1")


@pytest.mark.parametrize("name", ["MESH_CLASSIFIER_GRPC_PROT", "MESH_LOG_LEVLE", "MESH_"])
def test_an_unknown_name_stops_the_start(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(SettingsError, match=f"unknown setting {name};.*MESH_CLASSIFIER_GRPC_PORT"):
        load(monkeypatch, **{name: "1"})


@pytest.mark.parametrize("name", ["MESH_GATEWAY_HTTP_PORT", "MESH_STATE_PATH", "PATH_MESH_"])
def test_names_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert load(monkeypatch, **{name: "1"}) == Example.load()


def test_each_fault_names_variable_and_value(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError) as caught:
        load(monkeypatch, MESH_CLASSIFIER_GRPC_PORT="abc", MESH_TRACE_SAMPLE_RATIO="2")
    first, second = sorted(str(caught.value).splitlines())
    assert first.startswith("MESH_CLASSIFIER_GRPC_PORT=abc: ")
    assert "TRACE_SAMPLE_RATIO" in second
    assert "less than or equal to 1" in second


def test_a_missing_value_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare(Settings):
        model_config = SettingsConfigDict(env_prefix="MESH_GATEWAY_")

    with pytest.raises(SettingsError, match="MESH_GATEWAY_ADMIN_PORT is not set"):
        Bare.load()


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        MESH_REDIS_URL="rediss://user:hunter2@host:1/0",
        MESH_CLASSIFIER_TOKEN="hunter2",
    )
    shown = settings.masked()
    assert shown["MESH_CLASSIFIER_REDIS_URL"] == "rediss://user:***@host:1/0"
    assert shown["MESH_CLASSIFIER_TOKEN"] == "***"
    assert "hunter2" not in str(shown)


def test_a_fault_does_not_show_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError) as caught:
        load(monkeypatch, MESH_LOG_LEVEL="redis://user:hunter2@host")
    assert "hunter2" not in str(caught.value)


def test_the_reference_has_a_row_for_every_setting() -> None:
    table = reference(Example)
    for name in Example.model_fields:
        assert f"`MESH_CLASSIFIER_{name.upper()}`" in table
    assert "| `MESH_CLASSIFIER_REDIS_URL` or `MESH_REDIS_URL` |" in table
    assert "| `50061` | Port of the service. |" in table


def test_every_setting_is_documented() -> None:
    for settings_type in (Settings, ServiceSettings):
        for name, field in settings_type.model_fields.items():
            assert field.description, name


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (["CERTIFICATE"], "MESH_INTERNAL_TLS_KEY_PATH and MESH_INTERNAL_TLS_CA_PATH"),
        (["CERTIFICATE", "KEY"], "MESH_INTERNAL_TLS_CA_PATH"),
        (["CA", "KEY"], "MESH_INTERNAL_TLS_CERTIFICATE_PATH"),
        (["CA"], "MESH_INTERNAL_TLS_CERTIFICATE_PATH and MESH_INTERNAL_TLS_KEY_PATH"),
    ],
)
def test_internal_tls_is_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, given: list[str], missing: str
) -> None:
    files = {f"MESH_INTERNAL_TLS_{name}_PATH": f"/tls/{name}" for name in given}
    with pytest.raises(SettingsError, match=f"set {missing} too, or none of them"):
        load(monkeypatch, **files)


def test_internal_tls_is_for_all_processes_or_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"MESH_INTERNAL_TLS_{name}_PATH": name for name in ("CERTIFICATE", "KEY", "CA")}
    settings = load(monkeypatch, **files, MESH_CLASSIFIER_INTERNAL_TLS_KEY_PATH="own")
    assert settings.internal_tls_certificate_path == Path("CERTIFICATE")
    assert settings.internal_tls_key_path == Path("own")
    assert settings.internal_tls_ca_path == Path("CA")
