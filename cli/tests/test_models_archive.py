"""A version in one file: there and back, and archives that want something else."""

import hashlib
import io
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mesh_cli import models_archive
from mesh_cli.failures import Failure
from mesh_cli.models_catalogue import Reference
from meshkit import store
from meshkit.store import DamagedVersion
from small_versions import MODEL, add_version

A1 = Reference(MODEL, "a1")
Members = dict[str, bytes]


def quiet(_: str) -> None:
    """Says nothing."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    add_version(tmp_path / "home", tmp_path / "files", "a1")
    return tmp_path / "home"


@pytest.fixture
def archive(home: Path, tmp_path: Path) -> Path:
    models_archive.write(home, A1, tmp_path / "a1.zip", quiet)
    return tmp_path / "a1.zip"


def content(home: Path) -> Members:
    return {path.name: path.read_bytes() for path in (home / "models" / MODEL / "a1").iterdir()}


def test_what_is_exported_can_be_imported(archive: Path, home: Path, tmp_path: Path) -> None:
    said: list[str] = []
    other = tmp_path / "other"
    assert models_archive.read(other, archive, said.append) == A1
    assert content(other) == content(home)
    assert store.open_version(other, MODEL, "a1").name == "a1"
    assert said == [
        *("config.json", "model.fp32.onnx", "model.int8.onnx", "model.yaml", "tokenizer.json")
    ]
    with pytest.raises(Failure, match="classifier:a1 is in the store already"):
        models_archive.read(other, archive, quiet)


def test_the_same_version_gives_the_same_bytes(archive: Path, home: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(home, tmp_path / "copy"))  # with other times
    for path in copy.rglob("*"):
        path.touch()
    models_archive.write(copy, A1, tmp_path / "again.zip", quiet)
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()
    assert stat.S_IMODE(archive.stat().st_mode) == 0o644


def test_a_file_that_is_there_is_not_overwritten(archive: Path, home: Path, tmp_path: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(Failure, match=r"a1.zip is there already: name another file"):
        models_archive.write(home, A1, archive, quiet)
    assert archive.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"a1.zip", "files", "home"}


def test_a_damaged_version_is_not_exported(home: Path, tmp_path: Path) -> None:
    (home / "models" / MODEL / "a1" / "config.json").write_text("{}")
    with pytest.raises(DamagedVersion, match="SHA-256"):
        models_archive.write(home, A1, tmp_path / "a1.zip", quiet)
    assert not (tmp_path / "a1.zip").exists()


def rewritten(archive: Path, change: Callable[[Members], None]) -> None:
    """Writes the archive anew, with other members."""
    with zipfile.ZipFile(archive) as source:
        members = {name: source.read(name) for name in source.namelist()}
    change(members)
    with zipfile.ZipFile(archive, "w") as target:
        for name, data in members.items():
            target.writestr(name, data)


def other_content(members: Members) -> None:
    members["classifier/a1/config.json"] = b"{}"


def missing_file(members: Members) -> None:
    del members["classifier/a1/config.json"]


def only_the_record(members: Members) -> None:
    for name in [name for name in members if not name.endswith("yaml")]:
        del members[name]


def additional(name: str, data: bytes = b"{}") -> Callable[[Members], None]:
    def change(members: Members) -> None:
        members[name] = data

    return change


def renamed(folder: str) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        for name in list(members):
            members[f"{folder}/{name.rpartition('/')[2]}"] = members.pop(name)

    return change


def many(members: Members) -> None:
    members.update({f"classifier/a1/{number}.json": b"{}" for number in range(1000)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_content, "config.json has SHA-256"),
        (missing_file, "config.json is missing or no plain file"),
        (only_the_record, "has 1 files, and a version has 2 to 1000"),
        (many, "has 1005 files, and a version has 2 to 1000"),
        (additional("classifier/a1/extra.json"), "extra.json is no file of the version"),
        (additional("classifier/a1/weights.pkl"), "'classifier/a1/weights.pkl', which is none"),
        (additional("classifier/a1/../../x.json"), "which is none of classifier/a1"),
        (additional("/etc/x.json"), "'/etc/x.json', which is none of classifier/a1"),
        (additional("classifier/b2/x.json"), "which is none of classifier/a1"),
        (additional("classifier/a1/"), "'classifier/a1/', which is none of"),
        (renamed("classifier/b2"), "describes classifier:a1 and lies in the folder of"),
        (renamed("../a1"), "model '..' is not a name"),
        (renamed("classifier/.."), r"version '\.\.' is not a name"),
        (renamed("classifier"), "which is none of classifier/"),
    ],
)
def test_an_archive_of_something_else_is_refused(
    change: Callable[[Members], None], message: str, archive: Path, tmp_path: Path
) -> None:
    rewritten(archive, change)
    other = tmp_path / "within" / "other"
    with pytest.raises((Failure, DamagedVersion), match=message):
        models_archive.read(other, archive, quiet)
    left = [path for path in (tmp_path / "within").rglob("*") if path.is_file()]
    assert [path.name for path in left if path.suffix != ".lock"] == []


def linked(member: zipfile.ZipInfo) -> None:
    member.external_attr = (stat.S_IFLNK | 0o777) << 16


def compressed(member: zipfile.ZipInfo) -> None:
    member.compress_type = zipfile.ZIP_DEFLATED


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (linked, "'classifier/a1/config.json' as something else than a plain file"),
        (compressed, "'classifier/a1/config.json' compressed or encrypted"),
    ],
)
def test_members_in_another_form_are_refused(
    change: Callable[[zipfile.ZipInfo], None], message: str, archive: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(archive) as source:
        members = [(member, source.read(member)) for member in source.infolist()]
    change(members[0][0])
    with zipfile.ZipFile(archive, "w") as target:
        for member, data in members:
            target.writestr(member, data)
    with pytest.raises(Failure, match=message):
        models_archive.read(tmp_path / "other", archive, quiet)


def test_two_members_of_one_name_are_refused(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive, "a") as target, pytest.warns(UserWarning, match="Duplicate"):
        target.writestr("classifier/a1/config.json", b"{}")
    with pytest.raises(Failure, match="has two files of one name"):
        models_archive.read(tmp_path / "other", archive, quiet)


def test_members_that_overlap_are_refused(archive: Path, tmp_path: Path) -> None:
    # The index names the same bytes over and over, as bombs do.
    with zipfile.ZipFile(archive, "a") as target:
        original = target.getinfo("classifier/a1/model.fp32.onnx")
        for number in range(9):
            twin = zipfile.ZipInfo(f"classifier/a1/{number}.onnx")
            twin.header_offset, twin.CRC = original.header_offset, original.CRC
            twin.file_size = twin.compress_size = original.file_size * 3
            target.filelist.append(twin)
        target.comment = b"changed"  # so that the index is written anew
    with pytest.raises(Failure, match="has files that overlap"):
        models_archive.read(tmp_path / "other", archive, quiet)


@pytest.mark.parametrize("size", [0, 10, 1000])
def test_what_is_no_archive_is_refused(size: int, archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:size])
    with pytest.raises(Failure, match=r"a1.zip is no archive of a version: it can't be read"):
        models_archive.read(tmp_path / "other", archive, quiet)


def test_a_flipped_bit_is_found(archive: Path, tmp_path: Path) -> None:
    damaged = bytearray(archive.read_bytes())
    damaged[damaged.index(b"max_length")] ^= 1
    archive.write_bytes(damaged)
    with pytest.raises(Failure, match="Bad CRC-32"):
        models_archive.read(tmp_path / "other", archive, quiet)


def test_a_pickle_with_the_right_hash_is_refused(home: Path, tmp_path: Path) -> None:
    # Whoever wrote the version also wrote its record, so hashes say nothing of the content.
    (tmp_path / "evil").mkdir()
    add_version(tmp_path / "evil" / "home", tmp_path / "evil" / "files", "a1")
    folder = tmp_path / "evil" / "home" / "models" / MODEL / "a1"
    before = store.read_version(tmp_path / "evil" / "home", MODEL, "a1").hashes["config.json"]
    (folder / "config.json").write_bytes(b"\x80\x04N.")
    record = (folder / "model.yaml").read_text()
    now = hashlib.sha256(b"\x80\x04N.").hexdigest()
    (folder / "model.yaml").write_text(record.replace(before, now))
    models_archive.write(tmp_path / "evil" / "home", A1, tmp_path / "evil.zip", quiet)
    with pytest.raises(DamagedVersion, match=r"not brought in: config.json is a pickle"):
        models_archive.read(tmp_path / "other", tmp_path / "evil.zip", quiet)
    assert store.versions(tmp_path / "other", MODEL) == []


def test_an_archive_over_the_limit_is_refused_before_it_is_read(
    archive: Path, tmp_path: Path
) -> None:
    size = archive.stat().st_size
    with pytest.raises(Failure, match=f"has {size} bytes, more than {size - 1}: raise --max-gb"):
        models_archive.read(tmp_path / "other", archive, quiet, max_bytes=size - 1)
    assert models_archive.read(tmp_path / "other", archive, quiet, max_bytes=size) == A1


def test_an_index_that_claims_to_be_huge_is_not_read(archive: Path, tmp_path: Path) -> None:
    whole = bytearray(archive.read_bytes())
    end = whole.rindex(b"PK\x05\x06")
    huge = (32 * 1024 * 1024).to_bytes(4, "little")
    padded = bytes(whole[:end]) + b"\0" * (33 * 1024 * 1024)
    archive.write_bytes(padded + bytes(whole[end : end + 12]) + huge + bytes(whole[end + 16 :]))
    with pytest.raises(Failure, match="has an index of 33554432 bytes and may have 16777216"):
        models_archive.read(tmp_path / "other", archive, quiet)


def test_an_import_that_was_killed_is_no_obstacle(archive: Path, tmp_path: Path) -> None:
    left = tmp_path / "other" / "staging" / "models" / MODEL / "a1"
    left.mkdir(parents=True)
    (left / "config.json").write_bytes(b"half")
    (left / "extra.json").write_bytes(b"{}")
    models_archive.read(tmp_path / "other", archive, quiet)
    assert "extra.json" not in content(tmp_path / "other")


def test_the_archive_is_a_plain_zip(archive: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(archive.read_bytes())) as opened:
        assert opened.testzip() is None
        assert {member.compress_type for member in opened.infolist()} == {zipfile.ZIP_STORED}
        assert opened.namelist() == sorted(opened.namelist())
