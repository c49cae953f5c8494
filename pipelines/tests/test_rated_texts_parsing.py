"""The form of the files of rated texts: what is read back, and what is refused."""

import contextlib
import gzip
import html
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mesh_pipelines.rated_texts import (
    BadRatedTexts,
    parse_ratings,
    parse_texts,
    read_rated_texts,
)
from small_archives import folder, sdist

FOLDER = "hutto_ICWSM_2014"
STEMS = ("movieReviewSnippets", "amazonReviewSnippets", "nytEditorialSnippets", "tweets")
Members = dict[str, bytes]

fields = st.text(st.characters(codec="utf-8", exclude_characters="\t\n"), max_size=20)
texts = fields.map(str.strip).filter(bool)
ratings = st.lists(st.integers(-4, 4), min_size=1, max_size=20)
tables = st.dictionaries(fields, texts, max_size=8)
rated_tables = st.dictionaries(fields, ratings, max_size=8)
line_ends = st.sampled_from(["\n", "\r\n", "\r\n\r\n"])


@given(tables, line_ends)
def test_texts_are_read_back(table: dict[str, str], line_end: str) -> None:
    rows = [f"{id_}\t0.5\t{html.escape(html.escape(text))}" for id_, text in table.items()]
    content = line_end.join(rows).encode("utf-8-sig")
    assert parse_texts(content, "films") == table


@given(rated_tables, line_ends)
def test_ratings_are_read_back(table: dict[str, list[int]], line_end: str) -> None:
    rows = [f"{id_}\t0.5\t1.25\t{rated}" for id_, rated in table.items()]
    content = line_end.join(rows).encode("utf-8-sig")
    assert parse_ratings(content, "films") == {id_: tuple(r) for id_, r in table.items()}


almost = st.lists(
    st.one_of(
        st.sampled_from(
            [b"\t", b"\n", b"\r\n", b"1", b"0.5", b"[1, 2]", b"[", b"]", b"&#0;", b"&amp;", b"\xff"]
        ),
        st.binary(max_size=4),
    )
).map(b"".join)


@pytest.mark.parametrize("parse", [parse_texts, parse_ratings])
@given(content=st.one_of(st.binary(), almost))
@example(content=b"1\t0\t1\t" + b"[" * 100_000)
@example(content=b"1\t0\t1\t[" + b"1" * 10_000 + b"]")
@example(content=b"1\t0\t1\t[NaN]")
@example(content=b"1\t0\t1\t[1e999]")
@example(content=b"1\t0\t1\t[true]")
@example(content=b"\xef\xbb\xbf")
@example(content=b"1\t0\t&#xD800; &#x110000; &notit;")
@example(content=b"1\t0\t&#" + b"1" * 10_000 + b";")
def test_any_bytes_are_read_or_refused(
    parse: Callable[[bytes, str], dict[str, object]], content: bytes
) -> None:
    with contextlib.suppress(BadRatedTexts):
        assert all(parse(content, "films").values())


def test_entities_are_decoded_as_often_as_they_were_encoded() -> None:
    content = b"1\t0\tR&amp;D\r\n2\t0\t&amp;quot;Yes&amp;quot;\r\n3\t0\t&lt;3\r\n"
    assert parse_texts(content, "films") == {"1": "R&D", "2": '"Yes"', "3": "<3"}


def test_byte_order_mark_is_no_part_of_the_first_id() -> None:
    assert parse_texts("\ufeff1\t0\tone".encode(), "films") == {"1": "one"}
    assert parse_texts(b"1\t0\tone", "films") == {"1": "one"}


def test_only_a_line_feed_ends_a_line() -> None:
    content = "1\t0\tone\x0ctwo\u2028three\x85four\r\n".encode()
    assert parse_texts(content, "films") == {"1": "one\x0ctwo\u2028three\x85four"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1\t0\n", "films, line 1: expected 3 fields, got 2"),
        (b"1\t0\ta\n\n2\t0\tb\tc", "films, line 3: expected 3 fields, got 4"),
        (b"1\t0\ta\n1\t0\tb", "films texts, line 2: id 1 stands there twice"),
        (b"1\t0\t \r\n", "films texts, line 1: the text is empty"),
        (b"1\t0\t&nbsp;\r\n", "films texts, line 1: the text is empty"),
        (b"1\t0\t\xff", "films: the file is not UTF-8"),
    ],
)
def test_wrong_texts_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(BadRatedTexts) as caught:
        parse_texts(content, "films")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("[]", "expected a list of ratings, got '[]'"),
        ("", "expected a list of ratings, got ''"),
        ("3", "expected a list of ratings, got '3'"),
        ("[1, 2", "expected a list of ratings, got '[1, 2'"),
        ('{"1": 2}', "expected a list of ratings, got"),
        ("[1, 5]", "a rating is an integer from -4 to 4, got 5"),
        ("[-5]", "a rating is an integer from -4 to 4, got -5"),
        ("[1.0]", "a rating is an integer from -4 to 4, got 1.0"),
        ("[true]", "a rating is an integer from -4 to 4, got True"),
        ('["1"]', "a rating is an integer from -4 to 4, got '1'"),
        ("[null]", "a rating is an integer from -4 to 4, got None"),
    ],
)
def test_wrong_ratings_are_refused(listed: str, message: str) -> None:
    with pytest.raises(BadRatedTexts) as caught:
        parse_ratings(f"7\t0\t0\t[1]\n8\t0\t0\t{listed}".encode(), "films")
    assert str(caught.value).startswith(f"films ratings, line 2: {message}")


def test_id_with_two_ratings_is_refused() -> None:
    with pytest.raises(BadRatedTexts, match="films ratings, line 2: id 7 stands there twice"):
        parse_ratings(b"7\t0\t0\t[1]\n7\t0\t0\t[2]", "films")


@pytest.fixture
def members() -> Members:
    """The files of a small archive that is as it should be."""
    files = {}
    for stem in STEMS:
        files[f"{FOLDER}/{stem}_GroundTruth.txt"] = b"1_1\t0\tGood.\r\n1_2\t0\tBad.\r\n"
        files[f"{FOLDER}/{stem}_anonDataRatings.txt"] = (
            b"1_2\t0\t0\t[-3, 0]\r\n1_1\t0\t0\t[1, 2, 4, 4]\r\n"
        )
    return files


def archive(tmp_path: Path, content: bytes) -> Path:
    """A file with this content."""
    path = tmp_path / "texts.tar.gz"
    path.write_bytes(content)
    return path


def test_texts_and_ratings_are_joined_by_id(tmp_path: Path, members: Members) -> None:
    read = read_rated_texts(archive(tmp_path, sdist(members)))
    assert [(text.source, text.id, text.document, text.text, text.valence) for text in read] == [
        ("films", "1_1", "films/1_1", "Good.", 2.75),
        ("films", "1_2", "films/1_2", "Bad.", -1.5),
        ("products", "1_1", "products/1", "Good.", 2.75),
        ("products", "1_2", "products/1", "Bad.", -1.5),
        ("editorials", "1_1", "editorials/1", "Good.", 2.75),
        ("editorials", "1_2", "editorials/1", "Bad.", -1.5),
        ("tweets", "1_1", "tweets/1_1", "Good.", 2.75),
        ("tweets", "1_2", "tweets/1_2", "Bad.", -1.5),
    ]
    assert read[1].shares == (0.5, 0.5, 0.0)


def test_missing_file_is_named(tmp_path: Path, members: Members) -> None:
    del members[f"{FOLDER}/tweets_anonDataRatings.txt"]
    with pytest.raises(BadRatedTexts, match=r"has no file tweets_anonDataRatings\.txt"):
        read_rated_texts(archive(tmp_path, sdist(members)))


@pytest.mark.parametrize("file", ["GroundTruth", "anonDataRatings"])
def test_id_in_one_file_only_is_named(file: str, tmp_path: Path, members: Members) -> None:
    path = f"{FOLDER}/nytEditorialSnippets_{file}.txt"
    members[path] = members[path].replace(b"1_2", b"1_3")
    with pytest.raises(BadRatedTexts, match="editorials: id 1_2 is in one of the two files only"):
        read_rated_texts(archive(tmp_path, sdist(members)))


def test_file_that_is_too_large_is_not_read(tmp_path: Path, members: Members) -> None:
    members[f"{FOLDER}/tweets_GroundTruth.txt"] = bytes((8 << 20) + 1)
    with pytest.raises(BadRatedTexts, match="is not a file of at most 8388608 bytes"):
        read_rated_texts(archive(tmp_path, sdist(members)))


def test_folder_in_the_place_of_a_file_is_refused(tmp_path: Path, members: Members) -> None:
    path = f"{FOLDER}/tweets_GroundTruth.txt"
    with pytest.raises(BadRatedTexts, match=r"tweets_GroundTruth\.txt in the archive is not a"):
        read_rated_texts(archive(tmp_path, sdist({**members, path: folder(path)})))


@pytest.mark.parametrize(
    "content", [b"", b"<html>", gzip.compress(b"no tar" * 999)], ids=["empty", "page", "no-tar"]
)
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    path = archive(tmp_path, content)
    with pytest.raises(BadRatedTexts, match="delete it and run it again") as caught:
        read_rated_texts(path)
    assert str(path) in str(caught.value)


def test_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadRatedTexts, match="No such file"):
        read_rated_texts(tmp_path / "texts.tar.gz")


@given(data=st.data())
def test_damaged_real_archive_is_refused(
    data: st.DataObject, rated_archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = rated_archive.read_bytes()
    end = data.draw(st.integers(0, len(content) // 2))
    with pytest.raises(BadRatedTexts):
        read_rated_texts(archive(tmp_path_factory.mktemp("damaged"), content[:end]))
