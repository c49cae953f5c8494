"""Reading versions: a store as BentoML 1.4 writes it, and every way in which one can be wrong."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from meshkit import aliases, store
from meshkit.errors import StartError
from meshkit.store import DamagedVersion, NoVersion

VERSION = "20261122-031335-30b7c4"
FILES = {"config.json": b"{}", "model.fp32.onnx": b"\x08\x0a"}

# What BentoML 1.4.40 writes for a version without framework.
MANIFEST = """\
name: {name}
version: {version}
module: ''
labels: {{}}
options: {{}}
metadata:
  mesh_format: {mesh_format}
  run: 20261122-031335-30b7c4
  files:
{files}
  labels:
  - negative
  - positive
  temperature: 1.25
context:
  framework_name: ''
  framework_versions: {{}}
  bentoml_version: 1.4.40
  python_version: 3.11.7
signatures: {{}}
api_version: v1
creation_time: '2026-11-22T03:13:37.340152+00:00'
"""


def manifest(
    name: str = "classifier",
    version: str = VERSION,
    mesh_format: int = 1,
    hashes: dict[str, str] | None = None,
) -> str:
    known = {file: hashlib.sha256(content).hexdigest() for file, content in FILES.items()}
    files = "\n".join(f"    {file}: {sha}" for file, sha in (hashes or known).items())
    return MANIFEST.format(name=name, version=version, mesh_format=mesh_format, files=files)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "classifier" / VERSION
    folder.mkdir(parents=True)
    (folder.parent / "latest").write_text(VERSION)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    (folder / "model.yaml").write_text(manifest())
    return tmp_path


def folder_of(home: Path) -> Path:
    return home / "models" / "classifier" / VERSION


class Record(msgspec.Struct):
    labels: list[str]
    temperature: float


def test_opens_the_version_in_production(home: Path) -> None:
    aliases.write(home, "classifier", VERSION, replaces=None)
    version = store.resolve(home, "classifier")
    assert (version.model, version.name, version.run) == ("classifier", VERSION, VERSION)
    assert version.file("config.json").read_bytes() == b"{}"
    assert version.record_as(Record) == Record(["negative", "positive"], 1.25)


def test_opens_the_version_that_an_alias_moved_to(home: Path) -> None:
    first = aliases.write(home, "classifier", "gone", name="canary", replaces=None)
    aliases.write(home, "classifier", VERSION, name="canary", replaces=first)
    assert store.resolve(home, "classifier", "canary").name == VERSION


def test_without_an_alias_says_how_to_train(home: Path) -> None:
    with pytest.raises(NoVersion, match=r"no version of classifier is in production .*; run `mesh"):
        store.resolve(home, "classifier")


def test_a_version_that_is_gone_says_so(home: Path) -> None:
    aliases.write(home, "classifier", "gone", replaces=None)
    with pytest.raises(NoVersion, match=r"classifier:gone is not in the store .*; promote one"):
        store.resolve(home, "classifier")


def test_a_missing_file_of_the_version_lists_those_it_has(home: Path) -> None:
    version = store.open_version(home, "classifier", VERSION)
    with pytest.raises(DamagedVersion, match=r"no file x.onnx, only config.json, model.fp32.onnx"):
        version.file("x.onnx")


def test_a_record_of_another_shape_names_the_field(home: Path) -> None:
    class Other(msgspec.Struct):
        temperature: str

    version = store.open_version(home, "classifier", VERSION)
    with pytest.raises(DamagedVersion, match=r"\$.temperature.*`mesh models train classifier`"):
        version.record_as(Other)


def changed_file(home: Path) -> None:
    (folder_of(home) / "model.fp32.onnx").write_bytes(b"other")


def deleted_file(home: Path) -> None:
    (folder_of(home) / "config.json").unlink()


def linked_file(home: Path) -> None:
    path = folder_of(home) / "config.json"
    path.unlink()
    (home / "elsewhere.json").write_bytes(FILES["config.json"])
    path.symlink_to(home / "elsewhere.json")


def folder_for_file(home: Path) -> None:
    path = folder_of(home) / "config.json"
    path.unlink()
    path.mkdir()


def linked_folder(home: Path) -> None:
    folder = folder_of(home)
    folder.rename(home / "elsewhere")
    folder.symlink_to(home / "elsewhere")


def rewritten(text: str) -> Callable[[Path], None]:
    def damage(home: Path) -> None:
        (folder_of(home) / "model.yaml").write_text(text)

    return damage


def no_manifest(home: Path) -> None:
    (folder_of(home) / "model.yaml").unlink()


LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nmetadata: {c: *b}\n"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (changed_file, r"model.fp32.onnx has SHA-256 \w{64}, and \w{64} when it was saved"),
        (deleted_file, "config.json is missing or no plain file; restore it"),
        (linked_file, "config.json is missing or no plain file"),
        (folder_for_file, "config.json is missing or no plain file"),
        (linked_folder, "leads out of the store by a link"),
        (no_manifest, "model.yaml can't be read .*No such file"),
        (rewritten("{"), "model.yaml can't be read"),
        (rewritten("[" * 10_000), "model.yaml can't be read"),
        (rewritten("x" * (256 * 1024 + 1)), "larger than 262144 bytes"),
        (rewritten(LAUGHS), "refers to itself"),
        (rewritten("name: classifier\n"), "model.yaml can't be read .*version"),
        (rewritten(manifest(name="recommender")), "describes recommender:.*; move it back"),
        (rewritten(manifest(mesh_format=2)), "has format 2 and this release reads 1; run `mesh"),
        (rewritten(manifest().replace("mesh_format", "other")), "no record of this mesh .*mesh"),
        (rewritten(manifest(hashes={"../../x.json": "abc"})), "only plain names ending in .json,"),
        (rewritten(manifest(hashes={"model.pkl": "abc"})), "names the file 'model.pkl'; only"),
        (rewritten(manifest(hashes={"model.onnx.pickle": "abc"})), "only plain names"),
        (rewritten(manifest(hashes={"/etc/hosts.txt": "abc"})), "only plain names"),
    ],
)  # fmt: skip
def test_a_damaged_version_is_not_opened(
    home: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(home)
    with pytest.raises(DamagedVersion, match=message):
        store.open_version(home, "classifier", VERSION)


@pytest.mark.parametrize("name", ["..", "../classifier", "a/b", ""])
def test_a_name_never_leads_out_of_the_store(home: Path, name: str) -> None:
    with pytest.raises(DamagedVersion):
        store.resolve(home, name)
    with pytest.raises(StartError):
        store.open_version(home, "classifier", name)


def test_the_home_itself_may_be_a_link(home: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(home)
    assert store.open_version(link, "classifier", VERSION).name == VERSION


def test_reads_what_is_known_of_a_version_without_its_files(home: Path) -> None:
    changed_file(home)
    version = store.read_version(home, "classifier", VERSION)
    assert version.created == "2026-11-22T03:13:37.340152+00:00"
    assert version.hashes["config.json"] == hashlib.sha256(b"{}").hexdigest()


def test_lists_versions_that_are_complete(home: Path) -> None:
    (folder_of(home).parent / "20270101-000000-ffffff").mkdir()  # its training was killed
    assert store.versions(home, "classifier") == [VERSION]
    assert store.versions(home, "recommender") == []
