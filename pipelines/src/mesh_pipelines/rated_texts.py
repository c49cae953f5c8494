"""The rated texts: films, products, editorials and tweets, with the valence each rater gave.

The archive holds two tab-separated files for each source, in UTF-8 with CRLF: the texts with a
published mean, and the ratings. They are joined by id, since products stand in another order in the
two. The published mean is not used: for 196 tweets it is off its own raters by more than 0.01.
"""

import html
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mesh_pipelines.errors import PipelineError

# The name of each source with the stem of its files in the archive.
_STEMS = {
    "films": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "editorials": "nytEditorialSnippets",
    "tweets": "tweets",
}
SOURCES = tuple(_STEMS)
# Their ids are document_sentence; the others have no document but themselves.
_WITH_DOCUMENTS = frozenset({"products", "editorials"})
_FOLDER = "hutto_ICWSM_2014"
_MAX_FILE_BYTES = 8 << 20
_MAX_VALENCE = 4


class BadRatedTexts(PipelineError):
    """The files do not have the form that is read here."""


@dataclass(frozen=True, slots=True)
class RatedText:
    """One text and what its raters said of it."""

    source: str
    """One of SOURCES."""
    id: str
    """Its id within the source."""
    document: str
    """What it was taken from, unique over all sources."""
    text: str
    ratings: tuple[int, ...]
    """The valence that each rater gave, from -4 (most negative) to 4 (most positive)."""

    @property
    def valence(self) -> float:
        """The mean of the ratings."""
        return sum(self.ratings) / len(self.ratings)

    @property
    def shares(self) -> tuple[float, float, float]:
        """The shares of raters below, at and above zero; they sum to 1."""
        count = len(self.ratings)
        below = sum(rating < 0 for rating in self.ratings)
        above = sum(rating > 0 for rating in self.ratings)
        return below / count, (count - below - above) / count, above / count


def read_rated_texts(archive: Path) -> list[RatedText]:
    """Reads every text of every source, in the order of the files.

    Args:
        archive: the file `hutto_ICWSM_2014.tar.gz`.

    Raises:
        BadRatedTexts: a file is missing or has another form; the message names the line.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            return [text for source in SOURCES for text in _read_source(tar, source)]
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadRatedTexts(
            f"{archive} can't be read ({error}); delete it and run it again"
        ) from error


def _read_source(tar: tarfile.TarFile, source: str) -> Iterator[RatedText]:
    stem = _STEMS[source]
    texts = parse_texts(_read_member(tar, f"{stem}_GroundTruth.txt"), source)
    ratings = parse_ratings(_read_member(tar, f"{stem}_anonDataRatings.txt"), source)
    if texts.keys() != ratings.keys():
        odd = min(texts.keys() ^ ratings.keys())
        raise BadRatedTexts(f"{source}: id {odd} is in one of the two files only")
    for id_, text in texts.items():
        document = id_.partition("_")[0] if source in _WITH_DOCUMENTS else id_
        yield RatedText(source, id_, f"{source}/{document}", text, ratings[id_])


def _read_member(tar: tarfile.TarFile, name: str) -> bytes:
    try:
        member = tar.getmember(f"{_FOLDER}/{name}")
    except KeyError:
        raise BadRatedTexts(f"the archive has no file {name}") from None
    file = tar.extractfile(member)
    if file is None or member.size > _MAX_FILE_BYTES:
        raise BadRatedTexts(
            f"{name} in the archive is not a file of at most {_MAX_FILE_BYTES} bytes"
        )
    with file:
        return file.read()


def parse_texts(content: bytes, source: str) -> dict[str, str]:
    """Parses lines of id, published mean and text; texts by id, with HTML entities decoded."""
    texts: dict[str, str] = {}
    for number, (id_, _, text) in _rows(content, source, 3):
        cleaned = _decode_entities(text, f"{source} texts, line {number}").strip()
        if not cleaned:
            raise BadRatedTexts(f"{source} texts, line {number}: the text is empty")
        if id_ in texts:
            raise BadRatedTexts(f"{source} texts, line {number}: id {id_} stands there twice")
        texts[id_] = cleaned
    return texts


def parse_ratings(content: bytes, source: str) -> dict[str, tuple[int, ...]]:
    """Parses lines of id, mean, standard deviation and a list of integers; the lists by id."""
    ratings: dict[str, tuple[int, ...]] = {}
    for number, (id_, _, _, listed) in _rows(content, source, 4):
        if id_ in ratings:
            raise BadRatedTexts(f"{source} ratings, line {number}: id {id_} stands there twice")
        ratings[id_] = _parse_list(listed, f"{source} ratings, line {number}")
    return ratings


def _parse_list(listed: str, where: str) -> tuple[int, ...]:
    try:
        values = json.loads(listed)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or not values:
        raise BadRatedTexts(f"{where}: expected a list of ratings, got {listed[:40]!r}")
    for value in values:
        if type(value) is not int or abs(value) > _MAX_VALENCE:
            raise BadRatedTexts(f"{where}: a rating is an integer from -4 to 4, got {value!r}")
    return tuple(values)


def _rows(content: bytes, source: str, columns: int) -> Iterator[tuple[int, list[str]]]:
    """Splits a file into its fields; lines are numbered from 1."""
    try:
        # One of the files starts with a byte order mark.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRatedTexts(f"{source}: the file is not UTF-8 ({error})") from error
    # Only a line feed ends a line: str.splitlines would also split at a form feed inside a text.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        fields = line.removesuffix("\r").split("\t")
        if len(fields) != columns:
            raise BadRatedTexts(
                f"{source}, line {number}: expected {columns} fields, got {len(fields)}"
            )
        yield number, fields


def _decode_entities(text: str, where: str) -> str:
    """Undoes the HTML escapes of the collected pages; editorials carry them twice (`&amp;amp;`)."""
    try:
        return html.unescape(html.unescape(text))
    except ValueError as error:  # `&#` with thousands of digits
        raise BadRatedTexts(f"{where}: an HTML escape can't be decoded ({error})") from error
