"""Where an engine's sockets are, without an engine."""

import tempfile
from pathlib import Path

import pytest

from mesh_llm.engines import vllm_launch
from meshkit.errors import StartError

PLAN = vllm_launch.Plan(
    name="chat",
    source="/nowhere",
    max_running=1,
    context_tokens=None,
    kv_cache_bytes=1,
    gpu_memory_share=0.5,
    threads=1,
    prefix_caching=True,
    cache_block_tokens=64,
    compiled=False,
)


def test_a_temporary_folder_that_is_not_there_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(
        StartError, match=r"no place for its sockets .*gone.*; name a folder .* TMPDIR"
    ):
        vllm_launch.launch(PLAN, lambda: None)
