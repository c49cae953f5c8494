"""Following an alias: real store folders, real alias files, and a model that is one file."""

import asyncio
import gc
import hashlib
import shutil
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC
from pathlib import Path

import pytest

from conftest import until
from meshkit import aliases, swap
from meshkit.errors import StartError
from meshkit.store import NoVersion, Version
from meshkit.swap import Swap

MANIFEST = """\
name: example
version: {version}
creation_time: '2026-11-22T03:13:37.340152+00:00'
metadata:
  mesh_format: 1
  run: {version}
  files:
    config.json: {sha256}
"""


class Model:
    def __init__(self, text: str) -> None:
        self.text = text
        self.closed = False
        self.itself = self  # a cycle, as real models have


@asynccontextmanager
async def load(version: Version) -> AsyncIterator[Model]:
    text = version.file("config.json").read_text()
    if text == "refuses":
        raise StartError("the model refuses to warm up; train again")
    model = Model(text)
    try:
        yield model
    finally:
        model.closed = True


def save(home: Path, version: str, text: str) -> None:
    folder = home / "models" / "example" / version
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(text)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    (folder / "model.yaml").write_text(MANIFEST.format(version=version, sha256=sha256))


def promote(home: Path, version: str) -> None:
    aliases.write(home, "example", version, replaces=aliases.read(home, "example"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for version in ("v1", "v2"):
        save(tmp_path, version, f"text of {version}")
    promote(tmp_path, "v1")
    return tmp_path


@pytest.fixture
async def swapping(home: Path) -> AsyncIterator[Swap[Model]]:
    async with Swap(home, "example", "production", load) as entered:
        yield entered


async def test_a_promotion_moves_and_a_rollback_moves_back(
    home: Path, swapping: Swap[Model]
) -> None:
    assert swapping.serving.model.text == "text of v1"
    for version in ("v2", "v1"):
        promote(home, version)
        await swapping.check()
        assert swapping.serving.version.name == version
        assert swapping.serving.model.text == f"text of {version}"
        assert swapping.refusal is None


async def test_the_old_model_goes_once_its_last_call_has_ended(
    home: Path, swapping: Swap[Model]
) -> None:
    old = swapping.serving
    with old.lease() as leased:
        promote(home, "v2")
        moving = asyncio.create_task(swapping.check())
        await until(lambda: swapping.serving is not old)
        with swapping.serving.lease() as fresh:
            assert fresh.text == "text of v2"
        assert leased.text == "text of v1"
        assert not leased.closed
        assert not moving.done()
    await moving
    assert old.model.closed


async def test_nothing_of_the_old_model_stays_even_where_it_was_exempt_from_collections(
    home: Path, swapping: Swap[Model]
) -> None:
    old = weakref.ref(swapping.serving.model)
    gc.freeze()
    promote(home, "v2")
    await swapping.check()
    assert old() is None


@pytest.mark.parametrize("fault", ["missing", "hash", "warm-up", "gone"])
async def test_a_version_that_cannot_be_served_leaves_the_old_one(
    home: Path, swapping: Swap[Model], fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = home / "models/example/v2/config.json"
    match fault:
        case "missing":
            config.unlink()
        case "hash":
            config.write_text("something else")
        case "warm-up":
            save(home, "v3", "refuses")
        case "gone":
            shutil.rmtree(home / "models/example/v2")
    version = "v3" if fault == "warm-up" else "v2"
    promote(home, version)
    await swapping.check()
    assert swapping.serving.version.name == "v1"
    assert not swapping.serving.model.closed
    refusal = swapping.refusal
    assert refusal is not None
    assert refusal.version == version
    assert refusal.reason in caplog.text
    message = refusal.to_proto()
    assert (message.version, message.reason) == (refusal.version, refusal.reason)
    assert message.since.ToDatetime(UTC) == refusal.since

    promote(home, "v1")
    await swapping.check()
    assert swapping.refusal is None


async def test_a_refused_version_is_tried_again_later(
    home: Path, swapping: Swap[Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = home / "models/example/v2/config.json"
    whole = config.read_text()
    config.unlink()
    promote(home, "v2")
    await swapping.check()
    config.write_text(whole)
    await swapping.check()
    assert swapping.refusal is not None, "it is not tried at each poll"
    monkeypatch.setattr(swap, "RETRY_EVERY_S", 0.0)
    swapping._retry_at_s = 0.0
    await swapping.check()
    assert swapping.serving.version.name == "v2"


async def test_a_damaged_alias_leaves_the_old_version(home: Path, swapping: Swap[Model]) -> None:
    (home / "aliases/example/production/00000002.json").write_text("{")
    await swapping.check()
    assert swapping.serving.version.name == "v1"
    assert swapping.refusal is not None
    assert "damaged" in swapping.refusal.reason


async def test_watching_follows_by_itself(home: Path, swapping: Swap[Model]) -> None:
    watching = asyncio.create_task(swapping.watch())
    promote(home, "v2")
    await until(lambda: swapping.serving.version.name == "v2", timeout_s=30)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_pinned_version_is_served_whatever_the_alias_names(home: Path) -> None:
    async with Swap(home, "example", "production", load, pinned="v2") as entered:
        assert entered.serving.version.name == "v2"


async def test_leaving_lets_go_of_the_model(home: Path) -> None:
    async with Swap(home, "example", "production", load) as entered:
        model = entered.serving.model
    assert model.closed


async def test_nothing_to_serve_is_said_at_the_start(home: Path) -> None:
    with pytest.raises(NoVersion, match="mesh models train absent"):
        async with Swap(home, "absent", "production", load):
            pass
