import gzip
import hashlib
import random
import stat
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_pipelines.archives import BrokenArchive, extract, sha256_of
from mesh_pipelines.sources import SourceFile
from small_archives import declared, folder, link, sdist, wheel

PATH = "mesh_sample-1.0/data/words.txt"
CONTENT = b"one two three\n" * 500
DECOY = b"not this one\n"
MEMBERS = {"mesh_sample-1.0/setup.py": DECOY, PATH: CONTENT, "words.txt": DECOY}
Kind = Literal["sdist", "wheel"]

both_kinds = pytest.mark.parametrize("kind", ["sdist", "wheel"])


def pack(kind: Kind, members: Mapping[str, bytes]) -> bytes:
    """An archive of files by their paths."""
    return sdist(members) if kind == "sdist" else wheel(members)


def unpack(tmp_path: Path, archive: bytes, file: SourceFile) -> bytes:
    """The content that `extract` writes; when it fails, nothing may be left of the target."""
    place = tmp_path / "archive"
    place.write_bytes(archive)
    target = tmp_path / "target"
    try:
        extract(place, file, target)
    except BaseException:
        assert [path.name for path in tmp_path.iterdir()] == ["archive"]
        raise
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "target"}
    return target.read_bytes()


@both_kinds
def test_named_member_is_extracted(kind: Kind, tmp_path: Path) -> None:
    assert unpack(tmp_path, pack(kind, MEMBERS), declared(PATH, CONTENT)) == CONTENT
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o644


@both_kinds
def test_empty_member_is_extracted(kind: Kind, tmp_path: Path) -> None:
    assert unpack(tmp_path, pack(kind, {PATH: b""}), declared(PATH, b"")) == b""


@both_kinds
def test_large_member_is_extracted(kind: Kind, tmp_path: Path) -> None:
    content = random.Random(0).randbytes((2 << 20) + 1)
    assert unpack(tmp_path, pack(kind, {PATH: content}), declared(PATH, content)) == content


@both_kinds
def test_other_content_of_the_same_size_is_refused(kind: Kind, tmp_path: Path) -> None:
    changed = CONTENT[:-1] + b"!"
    with pytest.raises(BrokenArchive, match="is not the expected file") as caught:
        unpack(tmp_path, pack(kind, {PATH: changed}), declared(PATH, CONTENT))
    assert PATH in str(caught.value)
    assert declared(PATH, CONTENT).sha256 in str(caught.value)


@both_kinds
@pytest.mark.parametrize("found", [CONTENT + b"x", CONTENT[:-1], b""])
def test_other_size_is_refused(kind: Kind, found: bytes, tmp_path: Path) -> None:
    with pytest.raises(BrokenArchive, match="is not the expected file"):
        unpack(tmp_path, pack(kind, {PATH: found}), declared(PATH, CONTENT))


@both_kinds
def test_declared_size_must_fit_the_hash(kind: Kind, tmp_path: Path) -> None:
    file = SourceFile(PATH, len(CONTENT) + 1, hashlib.sha256(CONTENT).hexdigest())
    with pytest.raises(BrokenArchive, match="is not the expected file"):
        unpack(tmp_path, pack(kind, {PATH: CONTENT}), file)


@both_kinds
def test_bomb_is_not_unpacked(kind: Kind, tmp_path: Path) -> None:
    archive = pack(kind, {PATH: bytes(64 << 20)})
    assert len(archive) < 1 << 20
    with pytest.raises(BrokenArchive, match="is not the expected file"):
        unpack(tmp_path, archive, declared(PATH, CONTENT))


@both_kinds
def test_missing_member_is_named(kind: Kind, tmp_path: Path) -> None:
    with pytest.raises(BrokenArchive, match=r"archive has no file mesh_sample-1\.0/other"):
        unpack(tmp_path, pack(kind, MEMBERS), declared("mesh_sample-1.0/other", CONTENT))


@both_kinds
def test_path_in_the_archive_does_not_choose_the_place(kind: Kind, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    assert unpack(inner, pack(kind, {"../x": CONTENT}), declared("../x", CONTENT)) == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]


@both_kinds
def test_target_is_replaced_as_a_whole(kind: Kind, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    (tmp_path / "target").symlink_to(elsewhere)
    (tmp_path / "archive").write_bytes(pack(kind, MEMBERS))
    extract(tmp_path / "archive", declared(PATH, CONTENT), tmp_path / "target")
    assert not (tmp_path / "target").is_symlink()
    assert (tmp_path / "target").read_bytes() == CONTENT
    assert elsewhere.read_bytes() == b"precious"


@both_kinds
def test_earlier_target_stays_when_the_archive_is_wrong(kind: Kind, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"earlier")
    (tmp_path / "archive").write_bytes(pack(kind, {PATH: DECOY}))
    with pytest.raises(BrokenArchive):
        extract(tmp_path / "archive", declared(PATH, CONTENT), tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"earlier"
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "target"}


class TestMemberThatIsNoFile:
    def test_folder_in_a_tar(self, tmp_path: Path) -> None:
        with pytest.raises(BrokenArchive, match="is not a regular file"):
            unpack(tmp_path, sdist({PATH: folder(PATH)}), declared(PATH, CONTENT))

    @pytest.mark.parametrize("to", ["/etc/hostname", "../../../etc/hostname", "gone.txt"])
    def test_link_out_of_a_tar(self, to: str, tmp_path: Path) -> None:
        with pytest.raises(BrokenArchive):
            unpack(tmp_path, sdist({PATH: link(PATH, to)}), declared(PATH, CONTENT))

    def test_link_to_another_content_in_a_tar(self, tmp_path: Path) -> None:
        members: dict[str, bytes | tarfile.TarInfo] = {
            "mesh_sample-1.0/data/other": DECOY,
            PATH: link(PATH, "other"),
        }
        with pytest.raises(BrokenArchive, match="is not the expected file"):
            unpack(tmp_path, sdist(members), declared(PATH, CONTENT))

    def test_link_to_itself_in_a_tar(self, tmp_path: Path) -> None:
        with pytest.raises(BrokenArchive):
            unpack(tmp_path, sdist({PATH: link(PATH, "words.txt")}), declared(PATH, CONTENT))

    def test_link_in_a_zip_is_its_own_text(self, tmp_path: Path) -> None:
        info = zipfile.ZipInfo(PATH)
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        with pytest.raises(BrokenArchive, match="is not the expected file"):
            unpack(tmp_path, wheel({PATH: (info, b"/etc/hostname")}), declared(PATH, CONTENT))


class TestDamage:
    @pytest.mark.parametrize(
        "archive",
        [b"", b"<html>not found</html>", b"PK\x05\x06", gzip.compress(b"no tar" * 999)],
        ids=["empty", "page", "stub", "no-tar"],
    )
    def test_no_archive(self, archive: bytes, tmp_path: Path) -> None:
        with pytest.raises(BrokenArchive):
            unpack(tmp_path, archive, declared(PATH, CONTENT))

    @both_kinds
    @given(data=st.data())
    def test_shortened_archive(
        self, kind: Kind, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        archive = pack(kind, MEMBERS)
        end = data.draw(st.integers(0, len(archive) - 1))
        try:
            content = unpack(
                tmp_path_factory.mktemp("short"), archive[:end], declared(PATH, CONTENT)
            )
        except BrokenArchive:
            return
        # The end of a tar says nothing of the files before it.
        assert content == CONTENT
        assert kind == "sdist"

    @both_kinds
    @given(data=st.data())
    def test_changed_byte_is_found_or_harmless(
        self, kind: Kind, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        archive = bytearray(pack(kind, MEMBERS))
        place = data.draw(st.integers(0, len(archive) - 1))
        archive[place] ^= data.draw(st.integers(1, 255))
        try:
            content = unpack(
                tmp_path_factory.mktemp("damaged"), bytes(archive), declared(PATH, CONTENT)
            )
        except BrokenArchive:
            return
        assert content == CONTENT

    @pytest.mark.parametrize(
        ("record", "place", "value"),
        [
            (b"PK\x01\x02", 6, 99),
            (b"PK\x01\x02", 8, 1),
            (b"PK\x01\x02", 8, 32),
            (b"PK\x01\x02", 8, 64),
            (b"PK\x01\x02", 10, 1),
            (b"PK\x01\x02", 10, 12),
            (b"PK\x01\x02", 10, 14),
            (b"PK\x05\x06", 17, 255),
        ],
        ids=[
            "later-version",
            "encrypted",
            "patched",
            "strongly-encrypted",
            "unknown-compression",
            "bzip2",
            "lzma",
            "place-of-directory",
        ],
    )
    def test_record_of_a_zip_that_makes_no_sense(
        self, record: bytes, place: int, value: int, tmp_path: Path
    ) -> None:
        archive = bytearray(wheel({PATH: CONTENT}))
        archive[archive.index(record) + place] = value
        with pytest.raises(BrokenArchive) as caught:
            unpack(tmp_path, bytes(archive), declared(PATH, CONTENT))
        assert str(caught.value).isprintable()

    def test_wrong_checksum_of_a_tar(self, tmp_path: Path) -> None:
        # Without the empty blocks at its end, the tar is read up to its checksum.
        packed = gzip.decompress(sdist({PATH: CONTENT})).rstrip(b"\0")
        archive = bytearray(gzip.compress(packed.ljust(512 * 15, b"\0"), mtime=0))
        archive[-8] ^= 1
        with pytest.raises(BrokenArchive, match="CRC check failed"):
            unpack(tmp_path, bytes(archive), declared(PATH, CONTENT))


def test_missing_archive_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        extract(tmp_path / "none", declared(PATH, CONTENT), tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


def test_sha256_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert sha256_of(path) == ("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
