import io
import random
import sys
from pathlib import Path

import pytest

from local_index import Asked, LocalIndex
from mesh_pipelines.download import Downloader
from mesh_pipelines.errors import PipelineError
from small_archives import SDIST, WHEEL, source

CONTENT = random.Random(0).randbytes(1_000_000)
SOURCE = source({})
PART = f"{SDIST}.part"


class Pauses(list[float]):
    """How long a downloader waited between its tries, without a wait."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def downloader(index: LocalIndex, pauses: Pauses) -> Downloader:
    index.archives[SDIST] = CONTENT
    return Downloader((index.url,), pauses)


def ranges(index: LocalIndex) -> list[str | None]:
    """The parts of the archive that were asked for."""
    return [asked.range for asked in index.downloads]


def refused(downloader: Downloader, folder: Path) -> str:
    """The one line that says why the download failed."""
    with pytest.raises(PipelineError) as caught:
        downloader.download(SOURCE, folder)
    message = str(caught.value)
    assert message.isprintable()
    return message


def test_archive_is_downloaded(
    index: LocalIndex, downloader: Downloader, pauses: Pauses, tmp_path: Path
) -> None:
    path = downloader.download(SOURCE, tmp_path)
    assert path == tmp_path / SDIST
    assert path.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]
    assert index.asked == [Asked("/simple/mesh-sample/", None), Asked(f"/files/{SDIST}", None)]
    assert pauses == []


@pytest.mark.parametrize(("kind", "name"), [("sdist", SDIST), ("wheel", WHEEL)])
def test_kind_and_version_are_chosen(
    kind: str, name: str, index: LocalIndex, downloader: Downloader, tmp_path: Path
) -> None:
    index.archives |= {
        "mesh_sample-0.9.tar.gz": b"older",
        WHEEL: CONTENT,
        "mesh_sample-1.0-cp27-cp27m-win32.whl.asc": b"signature",
        "mesh_sample-1.1.tar.gz": b"newer",
        "mesh_sample-1.1-py3-none-any.whl": b"newer",
    }
    chosen = source({}, "wheel" if kind == "wheel" else "sdist")
    assert downloader.download(chosen, tmp_path) == tmp_path / name
    assert (tmp_path / name).read_bytes() == CONTENT


def test_wheel_of_another_platform_will_do(
    index: LocalIndex, downloader: Downloader, tmp_path: Path
) -> None:
    name = "mesh_sample-1.0-cp27-cp27m-win32.whl"
    index.archives[name] = CONTENT
    assert downloader.download(source({}, "wheel"), tmp_path) == tmp_path / name


def test_progress_is_shown(
    downloader: Downloader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    downloader.download(SOURCE, tmp_path)
    assert SDIST in shown.getvalue()
    assert "1.00M/1.00M" in shown.getvalue()


class TestResuming:
    def test_partial_file_is_completed(
        self, index: LocalIndex, downloader: Downloader, tmp_path: Path
    ) -> None:
        (tmp_path / PART).write_bytes(CONTENT[:300_000])
        path = downloader.download(SOURCE, tmp_path)
        assert path.read_bytes() == CONTENT
        assert list(tmp_path.iterdir()) == [path]
        assert ranges(index) == ["bytes=300000-"]

    def test_empty_partial_file_is_begun_anew(
        self, index: LocalIndex, downloader: Downloader, tmp_path: Path
    ) -> None:
        (tmp_path / PART).touch()
        assert downloader.download(SOURCE, tmp_path).read_bytes() == CONTENT
        assert ranges(index) == [None]

    def test_server_without_ranges_sends_all_again(
        self, index: LocalIndex, downloader: Downloader, tmp_path: Path
    ) -> None:
        index.ranges = False
        (tmp_path / PART).write_bytes(b"x" * 300_000)
        assert downloader.download(SOURCE, tmp_path).read_bytes() == CONTENT
        assert ranges(index) == ["bytes=300000-"]

    @pytest.mark.parametrize("excess", [0, 1])
    def test_partial_file_that_is_not_shorter_is_dropped(
        self,
        excess: int,
        index: LocalIndex,
        downloader: Downloader,
        pauses: Pauses,
        tmp_path: Path,
    ) -> None:
        have = len(CONTENT) + excess
        (tmp_path / PART).write_bytes(bytes(have))
        assert downloader.download(SOURCE, tmp_path).read_bytes() == CONTENT
        assert ranges(index) == [f"bytes={have}-", None]
        assert len(pauses) == 1

    def test_broken_connection_is_taken_up_where_it_broke(
        self, index: LocalIndex, downloader: Downloader, pauses: Pauses, tmp_path: Path
    ) -> None:
        index.breaks = [600_000]
        assert downloader.download(SOURCE, tmp_path).read_bytes() == CONTENT
        first, second = ranges(index)
        assert first is None
        assert second is not None
        start = int(second.removeprefix("bytes=").removesuffix("-"))
        assert 0 < start <= 600_000
        assert pauses == [1.0]

    def test_connection_may_break_four_times(
        self, index: LocalIndex, downloader: Downloader, pauses: Pauses, tmp_path: Path
    ) -> None:
        index.breaks = [300_000, 0, 300_000, 300_000]
        assert downloader.download(SOURCE, tmp_path).read_bytes() == CONTENT
        assert len(index.downloads) == 5
        assert pauses == [1.0, 2.0, 3.0, 4.0]

    def test_next_run_goes_on_after_five_breaks(
        self, index: LocalIndex, downloader: Downloader, tmp_path: Path
    ) -> None:
        index.breaks = [300_000, 0, 0, 0, 0]
        message = refused(downloader, tmp_path)
        assert message.startswith(f"can't download {SDIST}: ")
        assert message.endswith("check the network and run it again, it goes on where it stopped")
        assert [path.name for path in tmp_path.iterdir()] == [PART]
        have = (tmp_path / PART).stat().st_size
        assert CONTENT.startswith((tmp_path / PART).read_bytes())

        again = Downloader((index.url,))
        assert again.download(SOURCE, tmp_path).read_bytes() == CONTENT
        assert ranges(index)[-1] == f"bytes={have}-"
        assert 0 < have <= 300_000


class TestAnswers:
    def test_length_need_not_be_said(
        self, index: LocalIndex, downloader: Downloader, tmp_path: Path
    ) -> None:
        index.lengths = False
        assert downloader.download(SOURCE, tmp_path).read_bytes() == CONTENT

    @pytest.mark.parametrize(
        "breaks",
        [
            [],
            [600_000],
        ],
    )
    def test_archive_is_taken_as_it_is_stored(
        self, breaks: list[int], index: LocalIndex, downloader: Downloader, tmp_path: Path
    ) -> None:
        index.compresses = True
        index.breaks = breaks
        assert downloader.download(SOURCE, tmp_path).read_bytes() == CONTENT

    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    def test_passing_trouble_is_tried_again(
        self,
        status: int,
        index: LocalIndex,
        downloader: Downloader,
        pauses: Pauses,
        tmp_path: Path,
    ) -> None:
        index.statuses = [status, status]
        assert downloader.download(SOURCE, tmp_path).read_bytes() == CONTENT
        assert len(index.downloads) == 3
        assert pauses == [1.0, 2.0]

    @pytest.mark.parametrize("status", [403, 404, 410])
    def test_refusal_is_final(
        self, status: int, index: LocalIndex, downloader: Downloader, tmp_path: Path
    ) -> None:
        index.statuses = [status]
        message = refused(downloader, tmp_path)
        assert message.startswith(f"can't download {SDIST}: the server answered {status}; ")
        assert len(index.downloads) == 1
        assert list(tmp_path.iterdir()) == []

    def test_lasting_trouble_ends(
        self, index: LocalIndex, downloader: Downloader, tmp_path: Path
    ) -> None:
        index.statuses = [503] * 9
        assert "the server answered 503" in refused(downloader, tmp_path)
        assert len(index.downloads) == 5


class TestIndex:
    def test_package_that_the_index_lacks(
        self, index: LocalIndex, downloader: Downloader, tmp_path: Path
    ) -> None:
        index.page_status = 404
        assert refused(downloader, tmp_path) == (
            "the package index has no sdist of mesh-sample==1.0; check the index that pip or uv is "
            "told to use"
        )
        assert index.downloads == []

    def test_version_that_the_index_lacks(
        self, index: LocalIndex, downloader: Downloader, tmp_path: Path
    ) -> None:
        index.archives = {"mesh_sample-1.1.tar.gz": CONTENT, WHEEL: CONTENT}
        assert "has no sdist of mesh-sample==1.0" in refused(downloader, tmp_path)
        assert index.downloads == []

    def test_index_that_is_not_there(
        self, index: LocalIndex, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with LocalIndex() as closed:
            url = closed.url
        message = refused(Downloader((url,)), tmp_path)
        assert message.startswith("can't ask the package index for mesh-sample==1.0: ")
        assert index.asked == []

    def test_second_index_is_asked_for_what_the_first_lacks(
        self, index: LocalIndex, downloader: Downloader, tmp_path: Path
    ) -> None:
        with LocalIndex() as empty:
            several = Downloader((empty.url, index.url))
            assert several.download(SOURCE, tmp_path).read_bytes() == CONTENT
            assert [asked.path for asked in empty.asked] == ["/simple/mesh-sample/"]

    def test_name_and_password_of_the_index_are_used(
        self, index: LocalIndex, downloader: Downloader, tmp_path: Path
    ) -> None:
        index.user = "me:secret"
        with_password = Downloader((f"http://me:secret@{index.address}/simple/",))
        assert with_password.download(SOURCE, tmp_path).read_bytes() == CONTENT

    def test_password_stays_out_of_messages(
        self, index: LocalIndex, downloader: Downloader, pauses: Pauses, tmp_path: Path
    ) -> None:
        index.user = "me:secret"
        index.statuses = [404]
        url = f"http://me:secret@{index.address}/simple/"
        assert "secret" not in refused(Downloader((url,), pauses), tmp_path)

    def test_missing_password_is_not_asked_for(
        self,
        index: LocalIndex,
        downloader: Downloader,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        index.user = "me:secret"
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        assert "the package index" in refused(downloader, tmp_path)

    def test_address_without_sense_is_refused(self, tmp_path: Path) -> None:
        assert "the package index" in refused(Downloader(("http://[::1/simple/",)), tmp_path)

    def test_index_of_the_user_is_asked(
        self,
        index: LocalIndex,
        downloader: Downloader,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        assert Downloader().download(SOURCE, tmp_path).read_bytes() == CONTENT


def test_full_disk_is_the_systems_error(downloader: Downloader, tmp_path: Path) -> None:
    (tmp_path / PART).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        downloader.download(SOURCE, tmp_path)
