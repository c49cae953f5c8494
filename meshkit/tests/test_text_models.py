"""What services that run a text model share: how runs use threads, buckets, the configuration."""

from pathlib import Path

import msgspec
import pytest

from meshkit import text_models
from meshkit.store import DamagedVersion, Version
from meshkit.text_models import (
    Plan,
    buckets_up_to,
    likely_bucket,
    read_config,
)


@pytest.mark.parametrize(
    ("width", "threads", "plan"),
    [
        (1, 4, Plan(1, workers=4, threads=1, least_share=1)),
        (3, 1, Plan(3, workers=1, threads=1, least_share=3)),
        (16, 2, Plan(16, workers=2, threads=1, least_share=4)),
        (16, 5, Plan(16, workers=2, threads=2, least_share=4)),
    ],
)
def test_narrow_runs_have_a_thread_each_and_wide_ones_half_of_them(
    monkeypatch: pytest.MonkeyPatch, width: int, threads: int, plan: Plan
) -> None:
    monkeypatch.setattr(text_models, "cuda_available", lambda: False)
    assert Plan.of(width, threads) == plan


def test_a_gpu_takes_all_texts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_models, "cuda_available", lambda: True)
    assert Plan.of(16, 2) == Plan(16, workers=2, threads=1, least_share=16)


@pytest.mark.parametrize(
    ("max_length", "buckets"),
    [(256, (16, 32, 64, 128, 256)), (100, (16, 32, 64, 100)), (16, (16,)), (8, (8,))],
)
def test_buckets_end_with_the_longest_text(max_length: int, buckets: tuple[int, ...]) -> None:
    assert buckets_up_to(max_length) == buckets


@pytest.mark.parametrize(
    ("text", "bucket"), [("ok", 16), ("x" * 100, 32), ("x" * 65_536, 256), ("\u4eca" * 20, 32)]
)
def test_texts_of_like_length_share_a_bucket(text: str, bucket: int) -> None:
    assert likely_bucket(text, buckets_up_to(256)) == bucket


class Config(msgspec.Struct, frozen=True):
    pad_id: int


def version(folder: Path, content: bytes) -> Version:
    path = folder / "config.json"
    path.write_bytes(content)
    return Version("example", "v1", "run-1", "2026-11-26", {"config.json": path}, {})


def test_the_configuration_is_read_as_what_it_should_be(tmp_path: Path) -> None:
    assert read_config(version(tmp_path, b'{"pad_id": 3, "more": 1}'), Config) == Config(pad_id=3)


@pytest.mark.parametrize("content", [b"{}", b'{"pad_id": "x"}', b"{", b"\xff"])
def test_a_configuration_that_does_not_fit_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DamagedVersion, match=r"config\.json does not fit this release: .*train"):
        read_config(version(tmp_path, content), Config)
