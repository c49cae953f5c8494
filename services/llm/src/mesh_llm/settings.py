"""Every setting of the LLM service."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from mesh_llm import adapters
from meshkit.settings import SHARED, MeteredSettings, Port


class Settings(MeteredSettings):
    """Read from `MESH_LLM_...`, shared ones also from `MESH_...`."""

    model_config = SettingsConfigDict(env_prefix="MESH_LLM_")

    grpc_port: Port = 50062
    """Port that the service's gRPC methods listen on."""
    admin_port: Port = 9062
    """Port of the metrics (`GET /metrics`), never to be exposed to callers."""
    engine: Literal["vllm", "remote"] = "vllm"
    """What generates: vLLM in this process, or an upstream that speaks OpenAI's protocol."""
    model_name: str = Field("llm", min_length=1)
    """What requests call the model."""
    max_prompt_bytes: int = Field(512 * 1024, ge=1)
    """Most bytes of UTF-8 in the messages and tools of a request, or in its prompt."""
    max_choices: int = Field(8, ge=1)
    """Most choices (n) of a request."""
    max_running: int = Field(32, ge=1)
    """Most choices that are generated at the same time."""
    queue_capacity: int = Field(64, ge=0)
    """Most choices that wait to be generated; further requests are refused as overloaded."""

    models_path: Path | None = Field(None, json_schema_extra=SHARED)
    """Home folder of the model store (`BENTOML_HOME`); vllm needs it where model_uri is unset."""
    alias: str = Field("production", min_length=1)
    """Which version of the model to serve: the one that this alias names at the start."""
    model_version: str | None = Field(None, min_length=1)
    """Serve exactly this version, whatever the alias names: to try one before it is promoted."""
    model_uri: str | None = Field(None, pattern=r"^(hf://.+|/.+)$")
    """A model from elsewhere, in place of the store's: `hf://owner/name`, or an absolute folder."""
    adapters: str | None = Field(None, min_length=1)
    """LoRA adapters that are models of their own: `name=folder` or `name=model` of the store (its production version, or `model:version`), with commas between."""  # noqa: E501  # one line of a table
    max_context_tokens: int | None = Field(None, ge=16)
    """Most tokens of prompt and answer; unset, as many as model and kv_cache_bytes allow."""
    kv_cache_bytes: int = Field(2 * 1024**3, ge=64 * 1024**2)
    """Memory for the keys and values of what is generated, on a machine without a GPU."""
    gpu_memory_share: float = Field(0.9, gt=0, le=1)
    """Share of a GPU's memory that the engine takes."""
    inference_threads: int | None = Field(None, ge=1)
    """Threads that the model keeps busy without a GPU; unset, one for each CPU of the quota."""
    prefix_caching: bool = True
    """Whether what several prompts begin with is computed once for all of them."""
    cache_block_tokens: int = Field(64, ge=32, multiple_of=32)
    """Prompts share whole blocks of so many tokens; those of 32 are slower. Without a GPU."""
    compile_model: bool = True
    """Whether to compile the model at the start: a slower start, and faster answers."""
    tool_format: Literal["auto", "hermes", "none"] = "auto"
    """How the model writes tool calls; `auto` is by its family, if it is seen to keep to that."""
    reasoning_format: Literal["auto", "think", "none"] = "auto"
    """How the model parts its thoughts from its answer; `auto` is by its family."""
    engine_stall_s: float = Field(120.0, gt=0)
    """Seconds without a sign of life from an engine with work until it is started anew."""

    upstream_url: str | None = Field(None, pattern=r"^https?://.+", validate_default=True)
    """Where the upstream is, up to and with its version; needed where the engine is `remote`."""
    upstream_key: SecretStr = SecretStr("")
    """Key that the upstream wants; empty where it wants none."""
    upstream_model: str | None = Field(None, min_length=1)
    """What the upstream calls the model; unset, as model_name."""
    upstream_connect_timeout_s: float = Field(5.0, gt=0)
    """Most seconds until the upstream is connected."""
    upstream_first_byte_timeout_s: float = Field(60.0, gt=0)
    """Most seconds until an answer of the upstream begins."""
    upstream_idle_timeout_s: float = Field(30.0, gt=0)
    """Most seconds between two pieces of an answer of the upstream."""

    @field_validator("adapters")
    @classmethod
    def _adapters_have_names(cls, given: str | None, others: ValidationInfo) -> str | None:
        sources = adapters.parse(given or "")
        if (name := others.data.get("model_name")) in sources:
            raise ValueError(f"calls an adapter {name!r} as the model; give it a name of its own")
        if sources and others.data.get("engine") == "remote":
            raise ValueError("are of the engine vllm; name an upstream's in upstream_model")
        return given

    @field_validator("upstream_url")
    @classmethod
    def _remote_has_an_upstream(cls, url: str | None, others: ValidationInfo) -> str | None:
        if url is None and others.data.get("engine") == "remote":
            raise ValueError("is needed where the engine is remote; set it, or another engine")
        return url
