import dataclasses
import gc
import json
import random
import subprocess
import sys
import tarfile
import warnings
from pathlib import Path

import pytest

from local_index import LocalIndex
from mesh_pipelines.archives import BrokenArchive
from mesh_pipelines.download import Downloader
from mesh_pipelines.errors import PipelineError
from mesh_pipelines.fetch import fetch
from mesh_pipelines.sources import Source
from small_archives import SDIST, WHEEL, declared, sdist, source, wheel

FETCH_ONCE = Path(__file__).with_name("fetch_once.py")
WORDS = random.Random(0).randbytes(700_000)
NUMBERS = b"1,2,3\n"
FILES = {
    "words.bin": declared("mesh_sample-1.0/data/words.bin", WORDS),
    "numbers.csv": declared("mesh_sample-1.0/data/numbers.csv", NUMBERS),
}
SOURCE = source(FILES)
MEMBERS: dict[str, bytes | tarfile.TarInfo] = {
    "mesh_sample-1.0/setup.py": b"raise SystemExit('this must not run')\n",
    FILES["words.bin"].path: WORDS,
    FILES["numbers.csv"].path: NUMBERS,
}
ARCHIVE = sdist(MEMBERS)


@pytest.fixture
def downloader(index: LocalIndex) -> Downloader:
    index.archives[SDIST] = ARCHIVE
    return Downloader((index.url,), lambda _: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the cache keeps the files of the source."""
    return tmp_path / "cache" / "sources" / "sample" / "1.0"


def kept(folder: Path) -> set[str]:
    """The names of the files in the cache."""
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_files_are_downloaded_and_kept(
    index: LocalIndex, downloader: Downloader, tmp_path: Path, folder: Path
) -> None:
    paths = fetch(SOURCE, tmp_path / "cache", downloader)
    assert paths == {name: folder / name for name in FILES}
    assert paths["words.bin"].read_bytes() == WORDS
    assert paths["numbers.csv"].read_bytes() == NUMBERS
    assert kept(folder) == FILES.keys()
    assert len(index.downloads) == 1


def test_wheel_is_as_good(index: LocalIndex, downloader: Downloader, tmp_path: Path) -> None:
    index.archives[WHEEL] = wheel({FILES["numbers.csv"].path: NUMBERS})
    of_wheel = source({"numbers.csv": FILES["numbers.csv"]}, "wheel")
    paths = fetch(of_wheel, tmp_path / "cache", downloader)
    assert paths["numbers.csv"].read_bytes() == NUMBERS


def test_cached_files_need_no_request(
    index: LocalIndex, downloader: Downloader, tmp_path: Path
) -> None:
    first = fetch(SOURCE, tmp_path / "cache", downloader)
    index.asked.clear()
    assert fetch(SOURCE, tmp_path / "cache", downloader) == first
    assert index.asked == []


def test_cache_is_the_users_own_by_default(
    downloader: Downloader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_CACHE_PATH", str(tmp_path / "named"))
    paths = fetch(SOURCE, downloader=downloader)
    assert paths["words.bin"] == tmp_path / "named" / "sources" / "sample" / "1.0" / "words.bin"


def test_connections_are_closed(
    index: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.archives[SDIST] = ARCHIVE
    index.keeps_open = True
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fetch(SOURCE, tmp_path / "cache")
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


@pytest.mark.parametrize("damage", [b"", b"1,2,4\n", None])
def test_damaged_file_in_the_cache_is_fetched_again(
    damage: bytes | None, index: LocalIndex, downloader: Downloader, tmp_path: Path
) -> None:
    paths = fetch(SOURCE, tmp_path / "cache", downloader)
    kept_inode = paths["words.bin"].stat().st_ino
    if damage is None:
        paths["numbers.csv"].unlink()
    else:
        paths["numbers.csv"].write_bytes(damage)
    fetch(SOURCE, tmp_path / "cache", downloader)
    assert paths["numbers.csv"].read_bytes() == NUMBERS
    assert paths["words.bin"].stat().st_ino == kept_inode
    assert len(index.downloads) == 2


def test_broken_download_goes_on_in_the_next_run(
    index: LocalIndex, downloader: Downloader, tmp_path: Path, folder: Path
) -> None:
    index.breaks = [300_000, 0, 0, 0, 0]
    with pytest.raises(PipelineError, match="it goes on where it stopped"):
        fetch(SOURCE, tmp_path / "cache", downloader)
    have = (folder / f"{SDIST}.part").stat().st_size
    paths = fetch(SOURCE, tmp_path / "cache", downloader)
    assert index.downloads[-1].range == f"bytes={have}-"
    assert paths["words.bin"].read_bytes() == WORDS


def test_package_that_the_index_lacks(
    index: LocalIndex, downloader: Downloader, tmp_path: Path, folder: Path
) -> None:
    index.page_status = 404
    with pytest.raises(PipelineError, match=r"index has no sdist of mesh-sample==1\.0;"):
        fetch(SOURCE, tmp_path / "cache", downloader)
    assert kept(folder) == set()


@pytest.mark.parametrize(
    "archive",
    [
        sdist({**MEMBERS, FILES["words.bin"].path: WORDS[:-1] + b"!"}),
        sdist({"other": b""}),
        ARCHIVE[:-1000],
        b"<html>please log in</html>",
    ],
    ids=["other-content", "other-files", "shortened", "page"],
)
def test_wrong_archive_is_refused_and_forgotten(
    archive: bytes, index: LocalIndex, downloader: Downloader, tmp_path: Path, folder: Path
) -> None:
    index.archives[SDIST] = archive
    with pytest.raises(BrokenArchive) as caught:
        fetch(SOURCE, tmp_path / "cache", downloader)
    assert str(caught.value).isprintable()
    assert kept(folder) <= {"numbers.csv"}

    index.archives[SDIST] = ARCHIVE
    assert fetch(SOURCE, tmp_path / "cache", downloader)["words.bin"].read_bytes() == WORDS


def test_partial_file_of_another_archive_does_no_lasting_harm(
    downloader: Downloader, tmp_path: Path, folder: Path
) -> None:
    folder.mkdir(parents=True)
    (folder / f"{SDIST}.part").write_bytes(bytes(5_000))
    with pytest.raises(BrokenArchive):
        fetch(SOURCE, tmp_path / "cache", downloader)
    assert kept(folder) == set()
    assert fetch(SOURCE, tmp_path / "cache", downloader)["words.bin"].read_bytes() == WORDS


def test_full_disk_is_one_line(downloader: Downloader, tmp_path: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / f"{SDIST}.part").symlink_to("/dev/full")
    with pytest.raises(PipelineError) as caught:
        fetch(SOURCE, tmp_path / "cache", downloader)
    assert "disk" in str(caught.value)
    assert "full" in str(caught.value)
    assert str(caught.value).isprintable()


def test_cache_that_is_a_file_is_one_line(downloader: Downloader, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(PipelineError, match="Not a directory") as caught:
        fetch(SOURCE, tmp_path / "cache", downloader)
    assert str(tmp_path / "cache") in str(caught.value)
    assert str(caught.value).isprintable()


def fetch_elsewhere(
    index: LocalIndex, cache: Path, asked: Source = SOURCE, limit: int | None = None
) -> "subprocess.Popen[str]":
    """A process that has come to the point of fetching."""
    request = {
        "index": index.url,
        "cache": str(cache),
        "source": dataclasses.asdict(asked),
        "limit": limit,
    }
    process = subprocess.Popen(
        [sys.executable, FETCH_ONCE, json.dumps(request)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """The exit status of a process, and what it wrote."""
    with process:
        output, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors, errors
    return process.returncode, output


def test_two_processes_download_once(
    index: LocalIndex, downloader: Downloader, tmp_path: Path, folder: Path
) -> None:
    index.gate.clear()
    processes = [fetch_elsewhere(index, tmp_path / "cache") for _ in range(2)]
    index.gate.set()
    assert [end(process) for process in processes] == [(0, ""), (0, "")]
    assert len(index.downloads) == 1
    assert kept(folder) == FILES.keys()
    assert (folder / "words.bin").read_bytes() == WORDS


def test_process_that_is_killed_does_not_hold_up_the_next(
    index: LocalIndex, downloader: Downloader, tmp_path: Path, folder: Path
) -> None:
    index.gate.clear()
    process = fetch_elsewhere(index, tmp_path / "cache")
    process.kill()
    assert end(process)[0] < 0
    index.gate.set()
    assert fetch(SOURCE, tmp_path / "cache", downloader)["words.bin"].read_bytes() == WORDS


@pytest.mark.parametrize(
    ("content", "names"),
    [(WORDS, {f"{SDIST}.part"}), (bytes(len(WORDS)), {SDIST})],
    ids=["download", "extraction"],
)
def test_file_that_the_system_will_not_hold_is_one_line(
    content: bytes,
    names: set[str],
    index: LocalIndex,
    downloader: Downloader,
    tmp_path: Path,
    folder: Path,
) -> None:
    file = declared("words.bin", content)
    index.archives[SDIST] = sdist({"words.bin": content})
    asked = source({"words.bin": file})
    status, output = end(fetch_elsewhere(index, tmp_path / "cache", asked, limit=400_000))
    assert status == 3
    assert "File too large" in output
    assert output.count("\n") == 1
    assert kept(folder) == names

    # With room again, the next run gets it.
    paths = fetch(asked, tmp_path / "cache", downloader)
    assert paths["words.bin"].read_bytes() == content
    assert kept(folder) == {"words.bin"}
