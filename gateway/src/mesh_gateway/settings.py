"""Everything that the gateway can be told."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict
from redis.asyncio.connection import parse_url

import meshkit.settings
from meshkit.settings import SHARED, Port


def _redis_url(value: str) -> str:
    parse_url(value)
    return value


class Settings(meshkit.settings.Settings):
    """Settings of the gateway."""

    model_config = SettingsConfigDict(env_prefix="MESH_GATEWAY_")

    http_port: Port = 8080
    """Port of the public HTTP API."""
    admin_port: Port = 9080
    """Port of the metrics (`GET /metrics`), never to be exposed to callers."""
    classifier_target: str = "127.0.0.1:50061"
    """Where the classifier's replicas are: `host:port`, several with commas between, or `dns:///name:port`."""
    redis_url: Annotated[str, AfterValidator(_redis_url)] = Field(json_schema_extra=SHARED)
    """Redis that holds the API keys: `redis://`, `rediss://` or `unix://`."""
    redis_timeout_s: float = Field(0.5, gt=0)
    """Most seconds of one call to Redis."""
    hashing_key_path: Path = Field(json_schema_extra=SHARED)
    """File with the secret that API keys are hashed with."""
    classify_timeout_s: float = Field(10.0, gt=0)
    """Seconds that `POST /v1/classify` may take where the caller does not say."""
    max_timeout_s: float = Field(300.0, gt=0)
    """Most seconds that a caller gets, whatever `x-request-timeout-ms` it sends."""
    max_concurrent_requests: int = Field(1024, ge=1)
    """Most admitted requests in flight; further ones are refused as overloaded."""
    max_header_bytes: int = Field(32 * 1024, ge=1024)
    """Largest request line and headers, in bytes; each header counts 32 more than its text."""
    header_timeout_s: float = Field(10.0, gt=0)
    """Most seconds from the beginning of a connection or request to the end of its headers."""
    keep_alive_timeout_s: int = Field(75, ge=1)
    """Seconds that an idle connection stays open; longer than the load balancer keeps its own."""
    key_cache_size: int = Field(10_000, ge=1)
    """Most API keys that are remembered."""
    lineage_log: bool = True
    """Whether the lineage of every answer is kept in Redis for a day, for `mesh lineage`."""
    lineage_log_capacity: int = Field(8192, ge=1)
    """Most lineages that wait to be kept; further ones are dropped and counted."""
    access_log: bool = True
    """Whether every request is logged."""
    access_log_capacity: int = Field(8192, ge=1)
    """Most access log lines that wait to be written; further ones are dropped and counted."""
