"""Everything that the gateway can be told."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict
from redis.asyncio.connection import parse_url

import meshkit.settings
from meshkit.errors import InvalidArgument
from meshkit.rates import Rate
from meshkit.settings import SHARED, Port


def _redis_url(value: str) -> str:
    parse_url(value)
    return value


UNLIMITED: Final = "unlimited"


def _rate(value: str) -> str:
    try:
        to_rate(value)
    except InvalidArgument as error:
        raise ValueError(f"{error.message}, or {UNLIMITED}") from None
    return value


def to_rate(value: str) -> Rate | None:
    """The rate that a setting names; None for no limit.

    Raises:
        InvalidArgument: it names none.
    """
    return None if value == UNLIMITED else Rate.parse(value, "the rate")


RedisUrl = Annotated[str, AfterValidator(_redis_url)]
RateText = Annotated[str, AfterValidator(_rate)]
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]


class Settings(meshkit.settings.Settings):
    """Settings of the gateway."""

    model_config = SettingsConfigDict(env_prefix="MESH_GATEWAY_")

    http_port: Port = 8080
    """Port of the public HTTP API."""
    grpc_port: Port = 8081
    """Port of the public gRPC API."""
    admin_port: Port = 9080
    """Port of the metrics (`GET /metrics`), never to be exposed to callers."""
    tls_certificate_path: Path | None = None
    """Certificate that the HTTP and gRPC ports show to callers, in PEM; unset, they have no TLS."""
    tls_key_path: Path | None = Field(None, validate_default=True)
    """Private key of that certificate, in PEM."""
    classifier_target: str = "127.0.0.1:50061"
    """Where the classifier's replicas are: `host:port`, several with commas between, or `dns:///name:port`."""
    llm_target: str = "127.0.0.1:50062"
    """Where the llm's replicas are, in the same form."""
    embedder_target: str = "127.0.0.1:50063"
    """Where the embedder's replicas are, in the same form."""
    redis_url: RedisUrl = Field(json_schema_extra=SHARED)
    """Redis that holds the API keys: `redis://`, `rediss://` or `unix://`."""
    limits_redis_url: RedisUrl | None = Field(None, json_schema_extra=SHARED)
    """Redis that holds what callers have taken of their limits; unset, the one of the keys."""
    redis_timeout_s: float = Field(0.5, gt=0)
    """Most seconds of one call to Redis."""
    hashing_key_path: Path = Field(json_schema_extra=SHARED)
    """File with the secret that API keys are hashed with."""
    key_rate: RateText = "1000/s"
    """Most requests of a key for each verb of a service, where the key says nothing: `600/m:50`."""
    tenant_rate: RateText = UNLIMITED
    """Most requests of all keys of a tenant together, where `mesh tenants set` says nothing."""
    key_token_rate: RateText = UNLIMITED
    """Most tokens of a key over all models, where the key says nothing: `60000/m`."""
    tenant_token_rate: RateText = UNLIMITED
    """Most tokens of all keys of a tenant together, where `mesh tenants set` says nothing."""
    prices_path: Path | None = Field(None, json_schema_extra=SHARED)
    """What tokens and computing cost, in TOML; unset, the prices that come with the mesh."""
    settlement_capacity: int = Field(100_000, ge=1)
    """Most reservations of tokens that wait to be settled while Redis is away."""
    replicas: int = Field(1, ge=1)
    """How many gateways there are: each lets its part of a limit through while Redis is away."""
    jwt_keys: str | None = Field(None, min_length=1)
    """JWK set that tokens are checked with, a URL or a file; unset, no token is accepted."""
    jwt_issuer: str | None = Field(None, min_length=1, validate_default=True)
    """Who must have made a token (`iss`)."""
    jwt_audience: str | None = Field(None, min_length=1, validate_default=True)
    """Whom a token must be meant for (`aud`)."""
    jwt_algorithms: tuple[Algorithm, ...] = ("RS256", "ES256", "EdDSA")
    """How tokens may be signed; a list in JSON."""
    jwt_leeway_s: float = Field(30.0, ge=0)
    """Seconds that the clocks of issuer and gateway may differ."""
    jwt_tenant_claim: str = Field("tenant", min_length=1)
    """The claim of a token that names its tenant."""
    jwt_scope_claim: str = Field("scope", min_length=1)
    """The claim of a token that holds its scopes: words in a string, or a list."""
    classify_timeout_s: float = Field(10.0, gt=0)
    """Seconds that `POST /v1/classify` may take where the caller does not say."""
    llm_timeout_s: float = Field(600.0, gt=0)
    """Seconds that a generation may take where the caller does not say."""
    embeddings_timeout_s: float = Field(30.0, gt=0)
    """Seconds that `POST /v1/embeddings` may take where the caller does not say."""
    oip_timeout_s: float = Field(10.0, gt=0)
    """Seconds that a request to `/v2/...` may take where the caller does not say."""
    llm_routing_path: Path | None = None
    """TOML file of aliases, fallbacks, splits and rules for model names; unset, there are none."""
    prompt_cache_redis_url: RedisUrl | None = None
    """Redis that keeps answers of temperature 0; unset, none is kept."""
    prompt_cache_ttl_s: int = Field(3600, ge=1)
    """Seconds that an answer is kept."""
    prompt_cache_entries: int = Field(1000, ge=1)
    """Most answers that are kept of a tenant; the oldest make room."""
    prompt_cache_entry_bytes: int = Field(64 * 1024, ge=1024)
    """Largest answer that is kept, in bytes."""
    max_timeout_s: float = Field(600.0, gt=0)
    """Most seconds that a caller gets, whatever `x-request-timeout-ms` it sends."""
    stream_idle_timeout_s: float = Field(60.0, gt=0)
    """Most seconds between two messages of a stream, and until a caller takes what was sent."""
    grpc_timeout_s: float = Field(60.0, gt=0)
    """Seconds that a gRPC call may take where the caller gives no deadline."""
    max_concurrent_requests: int = Field(1024, ge=1)
    """Most admitted requests in flight; further ones are refused as overloaded."""
    max_header_bytes: int = Field(32 * 1024, ge=1024)
    """Largest request line and headers, in bytes; each header counts 32 more than its text."""
    header_timeout_s: float = Field(10.0, gt=0)
    """Most seconds until headers have come whole, and the rest of a body that is answered."""
    keep_alive_timeout_s: int = Field(75, ge=1)
    """Seconds that an idle connection stays open; longer than the load balancer keeps its own."""
    key_cache_size: int = Field(10_000, ge=1)
    """Most API keys, and most tenants, that are remembered."""
    lineage_log: bool = True
    """Whether the lineage of every answer is kept in Redis for a day, for `mesh lineage`."""
    lineage_log_capacity: int = Field(8192, ge=1)
    """Most lineages that wait to be kept; further ones are dropped and counted."""
    access_log: bool = True
    """Whether every request is logged."""
    access_log_capacity: int = Field(8192, ge=1)
    """Most access log lines that wait to be written; further ones are dropped and counted."""

    @field_validator("tls_key_path")
    @classmethod
    def _tls_is_whole(cls, value: Path | None, others: ValidationInfo) -> Path | None:
        if (value is None) is not (others.data.get("tls_certificate_path") is None):
            raise ValueError("must be set where tls_certificate_path is, and only there")
        return value

    @field_validator("jwt_issuer", "jwt_audience")
    @classmethod
    def _tokens_are_checked_whole(cls, value: str | None, others: ValidationInfo) -> str | None:
        if value is None and others.data.get("jwt_keys"):
            raise ValueError("must be set where jwt_keys is; a token of anybody would count")
        return value
