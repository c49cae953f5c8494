"""Typed settings of a process, read from the environment once, at start.

A process has a prefix of its own (`MESH_CLASSIFIER_`). Fields marked `shared` may also be set for
the whole mesh (`MESH_LOG_LEVEL`); the process's own name wins. An unknown `MESH_` name stops the
start, since it is a typing error that would otherwise go unseen.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from meshkit import names
from meshkit.errors import StartError

SHARED_PREFIX = "MESH_"
SHARED: JsonDict = {"shared": True}

# Names that processes do not read themselves, but that the same environment holds: the command
# line's own, and shared ones that only some processes have.
KNOWN_SHARED = frozenset(
    {
        "MESH_CACHE_PATH",
        "MESH_HASHING_KEY_PATH",
        "MESH_KAFKA_BOOTSTRAP_SERVERS",
        "MESH_LIMITS_REDIS_URL",
        "MESH_MODELS_PATH",
        "MESH_MODELS_URL",
        "MESH_REDIS_URL",
        "MESH_STATE_PATH",
    }
)

Port = Annotated[int, Field(ge=1, le=65535)]


class SettingsError(StartError):
    """The environment does not make valid settings; the message has a line for each fault."""


class _SharedEnvironment(EnvSettingsSource):
    """Reads the fields marked shared under the mesh-wide prefix."""

    def __init__(self, settings_type: type[BaseSettings]) -> None:
        super().__init__(settings_type, env_prefix=SHARED_PREFIX)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        if not _is_shared(field):
            return None, field_name, False
        return super().get_field_value(field, field_name)


class EnvironmentSettings(BaseSettings):
    """Settings that a process reads from its environment. Subclasses set `env_prefix`."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Explicit values first, then the process's own names, then the shared ones."""
        return init_settings, env_settings, _SharedEnvironment(settings_cls)

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Reads the settings from the process's environment.

        Args:
            environment: where to look for unknown names; the process's own environment by default.

        Raises:
            SettingsError: a name is unknown or a value is invalid.
        """
        unknown = sorted(cls._unknown_names(os.environ if environment is None else environment))
        if unknown:
            known = ", ".join(sorted(_variables(cls)))
            raise SettingsError(f"unknown setting {', '.join(unknown)}; this process knows {known}")
        from_sources: dict[str, Any] = {}
        try:
            return cls(**from_sources)
        except ValidationError as error:
            faults = "\n".join(_fault(cls, dict(fault)) for fault in error.errors())
            raise SettingsError(faults) from None

    @classmethod
    def _unknown_names(cls, environment: Mapping[str, str]) -> Iterator[str]:
        own_prefix = _prefix(cls)
        known = _variables(cls) | KNOWN_SHARED | _shared_variables(Settings)
        others = tuple(
            prefix
            for process in names.PROCESSES
            if (prefix := f"{SHARED_PREFIX}{process.upper()}_") != own_prefix
        )
        for name in environment:
            ours = name.startswith(SHARED_PREFIX) and not name.startswith(others)
            if ours and name not in known:
                yield name

    def masked(self) -> dict[str, str]:
        """Each variable with its value, secrets and the passwords in URLs masked."""
        prefix = _prefix(type(self))
        return {
            f"{prefix}{field.upper()}": _mask(getattr(self, field))
            for field in type(self).model_fields
        }


class Settings(EnvironmentSettings):
    """What every process that serves can be told. Subclasses set `env_prefix`, add their fields."""

    bind_address: str = Field(default="127.0.0.1", json_schema_extra=SHARED)
    """Address that the ports listen on; 0.0.0.0 in a container."""
    admin_port: Port
    """Port of the metrics (`GET /metrics`), never to be exposed to callers."""
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", json_schema_extra=SHARED
    )
    """Least severe level that is logged."""
    otlp_endpoint: str | None = Field(default=None, json_schema_extra=SHARED)
    """OTLP/gRPC endpoint that traces and metrics go to, such as `http://127.0.0.1:4317`."""
    trace_sample_ratio: float = Field(default=0.01, ge=0, le=1, json_schema_extra=SHARED)
    """Share of traces begun here that is sampled; a caller's choice is kept, a fault exported."""
    deployment: str = Field(default="local", min_length=1, json_schema_extra=SHARED)
    """Name of the deployment, said in the lineage of every prediction."""
    drain_delay_s: float = Field(default=0.0, ge=0, json_schema_extra=SHARED)
    """Seconds that a stopping process serves on after it reported NOT_SERVING; 5 on Kubernetes."""
    drain_timeout_s: float = Field(default=30.0, gt=0, json_schema_extra=SHARED)
    """Most seconds that a stopping process waits for what is in flight."""
    max_message_bytes: int = Field(default=4 * 1024 * 1024, ge=64 * 1024, json_schema_extra=SHARED)
    """Largest HTTP body and public gRPC message, in bytes."""
    internal_tls_certificate_path: Path | None = Field(default=None, json_schema_extra=SHARED)
    """Certificate of this process inside the mesh, in PEM; unset, calls inside are in the clear."""
    internal_tls_key_path: Path | None = Field(default=None, json_schema_extra=SHARED)
    """Private key of that certificate, in PEM."""
    internal_tls_ca_path: Path | None = Field(
        default=None, json_schema_extra=SHARED, validate_default=True
    )
    """Certificates whose holders may call and be called inside the mesh, in PEM."""

    @field_validator("internal_tls_ca_path")
    @classmethod
    def _internal_tls_is_whole(cls, value: Path | None, others: ValidationInfo) -> Path | None:
        given = {
            "MESH_INTERNAL_TLS_CERTIFICATE_PATH": others.data.get("internal_tls_certificate_path"),
            "MESH_INTERNAL_TLS_KEY_PATH": others.data.get("internal_tls_key_path"),
            "MESH_INTERNAL_TLS_CA_PATH": value,
        }
        missing = [name for name, path in given.items() if path is None]
        if missing and len(missing) < len(given):
            raise ValueError(
                f"the three files of internal TLS go together; set {' and '.join(missing)} too, "
                "or none of them"
            )
        return value


class ServiceSettings(Settings):
    """What every gRPC service can be told."""

    grpc_port: Port
    """Port that the service's gRPC methods listen on."""
    health_port: Port | None = None
    """Port of the health service alone, for probes that speak no TLS; unset, there is none."""
    variant: str = Field(default="default", min_length=1)
    """Arm of an experiment or canary that this deployment is, said in every lineage."""
    max_concurrent_calls: int = Field(default=1024, ge=1)
    """Most calls in flight over all callers, plain ones and those on dispatch streams each."""


class MeteredSettings(ServiceSettings):
    """What a service whose tokens are counted can be told."""

    redis_url: str | None = Field(default=None, json_schema_extra=SHARED)
    """Redis of the ledger, where the use of every request is written; unset, there is none."""
    limits_redis_url: str | None = Field(default=None, json_schema_extra=SHARED)
    """Redis that holds what callers have taken of their limits; unset, the one of the ledger."""
    redis_timeout_s: float = Field(default=0.5, gt=0)
    """Most seconds of one call to Redis, for which no request waits."""
    prices_path: Path | None = Field(default=None, json_schema_extra=SHARED)
    """What tokens and computing cost, in TOML; unset, the prices that come with the mesh."""

    @field_validator("redis_url", "limits_redis_url")
    @classmethod
    def _is_a_redis(cls, value: str | None) -> str | None:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        return value


def reference(settings_type: type[EnvironmentSettings]) -> str:
    """A Markdown table of the settings, for the README of the process."""
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in settings_type.model_fields.items():
        variable = f"`{_prefix(settings_type)}{name.upper()}`"
        if _is_shared(field):
            variable += f" or `{SHARED_PREFIX}{name.upper()}`"
        default = "required" if field.is_required() else f"`{_mask(field.get_default())}`"
        meaning = " ".join((field.description or "").split())
        rows.append(f"| {variable} | {default} | {meaning} |")
    return "\n".join(rows) + "\n"


def _prefix(settings_type: type[BaseSettings]) -> str:
    return str(settings_type.model_config.get("env_prefix", ""))


def _is_shared(field: FieldInfo) -> bool:
    extra = field.json_schema_extra
    return isinstance(extra, dict) and extra.get("shared") is True


def _shared_variables(settings_type: type[BaseSettings]) -> set[str]:
    return {
        f"{SHARED_PREFIX}{name.upper()}"
        for name, field in settings_type.model_fields.items()
        if _is_shared(field)
    }


def _variables(settings_type: type[BaseSettings]) -> set[str]:
    own = {f"{_prefix(settings_type)}{name.upper()}" for name in settings_type.model_fields}
    return own | _shared_variables(settings_type)


def _fault(settings_type: type[BaseSettings], fault: dict[str, Any]) -> str:
    field = str(fault["loc"][0]) if fault["loc"] else ""
    variable = f"{_prefix(settings_type)}{field.upper()}"
    if fault["type"] == "missing":
        return f"{variable} is not set and has no default; set it"
    value = fault.get("input")
    shown = "" if isinstance(value, dict) else f"={_mask(value)}"
    return f"{variable}{shown}: {fault['msg']}"


_URL_PASSWORD = re.compile(r"(?<=://)([^/@\s]*):([^/@\s]*)@")


def _mask(value: object) -> str:
    if isinstance(value, SecretStr):
        return "***"
    if value is None:
        return "unset"
    if isinstance(value, Path):
        return value.as_posix()
    return _URL_PASSWORD.sub(r"\1:***@", str(value))
