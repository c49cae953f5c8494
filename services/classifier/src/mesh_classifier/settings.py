"""Every setting of the classifier."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from meshkit.settings import SHARED, Port, ServiceSettings


class Settings(ServiceSettings):
    """Read from `MESH_CLASSIFIER_...`, shared ones also from `MESH_...`."""

    model_config = SettingsConfigDict(env_prefix="MESH_CLASSIFIER_")

    grpc_port: Port = 50061
    """Port that the service's gRPC methods listen on."""
    admin_port: Port = 9061
    """Port of the metrics (`GET /metrics`), never to be exposed to callers."""
    models_path: Path = Field(json_schema_extra=SHARED)
    """Home folder of the model store (`BENTOML_HOME`)."""
    alias: str = Field("production", min_length=1)
    """Which version of the model to serve: the one that this alias names."""
    model_version: str | None = Field(None, min_length=1)
    """Serve exactly this version, whatever the alias names: to try one before it is promoted."""
    precision: Literal["auto", "fp32", "int8"] = "auto"
    """Numeric precision of the graph; `auto` is fp32 on a GPU, else the version's own default."""
    inference_threads: int | None = Field(None, ge=1)
    """Threads that the model keeps busy; unset, one for each CPU of the quota."""
    max_texts: int = Field(64, ge=1)
    """Most texts in one request."""
    max_batch_size: int = Field(16, ge=1)
    """Most texts in one run of the graph; a version may allow fewer."""
    max_queue_delay_ms: float = Field(0.0, ge=0)
    """Longest that a text waits for company while a worker is free; 0 is no wait."""
    queue_capacity: int = Field(256, ge=1)
    """Most texts that wait for a worker; further ones are refused as overloaded."""
    max_queue_wait_ms: float = Field(500.0, ge=0)
    """Longest that texts are expected to wait for a worker; more are refused as overloaded."""
    max_standing_wait_ms: float = Field(100.0, ge=0)
    """The same once no worker has been free for 100 ms; the next batches always may wait."""

    @field_validator("queue_capacity")
    @classmethod
    def _holds_a_request(cls, capacity: int, others: ValidationInfo) -> int:
        max_texts = others.data.get("max_texts", 0)
        if capacity < max_texts:
            raise ValueError(
                f"must hold a whole request of max_texts ({max_texts}); raise it or lower that"
            )
        return capacity
