"""Every setting of the embedder."""

from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from meshkit.settings import SHARED, MeteredSettings, Port


class Settings(MeteredSettings):
    """Read from `MESH_EMBEDDER_...`, shared ones also from `MESH_...`."""

    model_config = SettingsConfigDict(env_prefix="MESH_EMBEDDER_")

    grpc_port: Port = 50063
    """Port that the service's gRPC methods listen on."""
    admin_port: Port = 9063
    """Port of the metrics (`GET /metrics`), never to be exposed to callers."""
    models_path: Path = Field(json_schema_extra=SHARED)
    """Home folder of the model store (`BENTOML_HOME`)."""
    alias: str = Field("production", min_length=1)
    """Which version of the model to serve: the one that this alias names."""
    model_version: str | None = Field(None, min_length=1)
    """Serve exactly this version, whatever the alias names: to try one before it is promoted."""
    inference_threads: int | None = Field(None, ge=1)
    """Threads that the model keeps busy; unset, one for each CPU of the quota."""
    max_inputs: int = Field(2048, ge=1)
    """Most inputs in one request."""
    max_queued_inputs: int = Field(64, ge=1)
    """Most inputs of one request that wait at once; the others let those of other callers in."""
    max_batch_size: int = Field(16, ge=1)
    """Most inputs in one run of the graph."""
    max_queue_delay_ms: float = Field(0.0, ge=0)
    """Longest that an input waits for company while a worker is free; 0 is no wait."""
    queue_capacity: int = Field(512, ge=1)
    """Most inputs that wait for a worker; further ones are refused as overloaded."""
    max_queue_wait_ms: float = Field(2000.0, ge=0)
    """Longest that inputs are expected to wait for a worker; more are refused as overloaded."""
    max_standing_wait_ms: float = Field(200.0, ge=0)
    """The same once no worker has been free for 100 ms; the next batches always may wait."""

    @field_validator("queue_capacity")
    @classmethod
    def _holds_a_share(cls, capacity: int, others: ValidationInfo) -> int:
        share = others.data.get("max_queued_inputs", 0)
        if capacity < share:
            raise ValueError(
                f"must hold what one request has waiting, max_queued_inputs ({share}); raise it or "
                "lower that"
            )
        return capacity
