import re
import tomllib
from importlib import resources
from pathlib import PurePosixPath

import pytest

from mesh_pipelines import text_encoder
from mesh_pipelines.sources import Source, load_sources

SOURCES = load_sources()
LICENCES = {"Apache-2.0", "MIT"}


def test_manifest_names_the_sources() -> None:
    chat_model = [f"chat-model-{part}" for part in range(1, 7)]
    assert SOURCES.keys() == {"rated-texts", "text-encoder", *chat_model}
    assert SOURCES["rated-texts"].files.keys() == {"hutto_ICWSM_2014.tar.gz"}
    encoder = {text_encoder.CONFIG, text_encoder.WEIGHTS, text_encoder.TOKENIZER}
    assert SOURCES[text_encoder.SOURCE].files.keys() == encoder


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
class TestEntry:
    """Every entry says all that is needed to trust its files."""

    def test_version_is_pinned(self, source: Source) -> None:
        assert re.fullmatch(r"\d+(\.\d+)+", source.version)

    def test_archive_is_of_a_known_kind(self, source: Source) -> None:
        assert source.archive in {"sdist", "wheel"}

    def test_licence_is_one_we_may_build_on(self, source: Source) -> None:
        assert source.licence in LICENCES

    def test_it_says_what_it_is(self, source: Source) -> None:
        assert len(source.about) > 20
        assert SOURCES[source.name] is source

    def test_files_are_pinned(self, source: Source) -> None:
        assert source.files
        for file in source.files.values():
            assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
            assert file.size > 0

    def test_a_version_says_what_of_it_was_used(self, source: Source) -> None:
        hashes = {name: file.sha256 for name, file in source.files.items()}
        assert source.describe() == {
            "package": source.package,
            "version": source.version,
            "licence": source.licence,
            "files": hashes,
        }

    def test_names_are_plain(self, source: Source) -> None:
        for name, file in source.files.items():
            assert PurePosixPath(name).name == name
            assert PurePosixPath(file.path).name == name
            assert ".." not in PurePosixPath(file.path).parts


def test_hashes_are_of_different_files() -> None:
    hashes = [file.sha256 for source in SOURCES.values() for file in source.files.values()]
    assert len(hashes) == len(set(hashes))


def test_manifest_is_installed_with_the_package() -> None:
    manifest = resources.files("mesh_pipelines").joinpath("sources.toml").read_text("utf-8")
    assert tomllib.loads(manifest).keys() == SOURCES.keys()
