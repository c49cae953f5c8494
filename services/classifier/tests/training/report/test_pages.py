"""The pages: everything that was measured stands there, and the committed card is up to date."""

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from mesh_classifier.training.report import __main__ as command
from mesh_classifier.training.report import document, figures, render
from mesh_classifier.training.report.document import Document
from mesh_pipelines.bootstrap import Estimate
from mesh_pipelines.errors import PipelineError
from training.conftest import Trained

CARD = Path(__file__).resolve().parents[5] / "docs" / "models" / "classifier.md"
VOID = {"meta", "link", "br", "img", "use", "path", "hr"}


class Balance(HTMLParser):
    """Collects the text of a page, and checks that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def content(reported: dict[str, Trained]) -> Document:
    trained = reported["all"]
    return document.gather(trained.home, "classifier", trained.version.name)


def test_a_page_is_whole_and_needs_nothing_beside_it(content: Document) -> None:
    page = render.page(content)
    parser = Balance()
    parser.feed(page)
    assert not parser.open
    text = " ".join("".join(parser.text).split())
    assert content.version in text
    for goal in content.report.goals:
        assert goal.measured in text
    for system in ("VADER", "TF-IDF"):
        assert system in text
    assert page.count("<svg") == len(render.drawn(content.report)) == 5
    assert not re.search(r"<(script|img|link)\b|url\(\s*['\"]?http", page)


def test_texts_of_others_are_escaped(content: Document) -> None:
    errors = content.report.label_errors
    evil = msgspec.structs.replace(errors.worst[0], text="<script>alert(1)</script>")
    report = msgspec.structs.replace(
        content.report, label_errors=msgspec.structs.replace(errors, worst=[evil])
    )
    page = render.page(msgspec.structs.replace(content, report=report))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_versions_of_other_data_stand_beside_it(content: Document) -> None:
    assert [sibling.report.data for sibling in content.siblings] == ["cleaned", "films"]
    card = render.card(content, "classifier")
    for name in ("films only", "all sources, without doubtful labels"):
        assert f"| {name} |" in card


def test_a_version_of_another_seed_does_not_stand_beside_it(
    reported: dict[str, Trained], tmp_path: Path, content: Document
) -> None:
    films = reported["films"].version
    ours = reported["all"].version.record
    theirs = {**films.record, "settings": {**films.record["settings"], "seed": 999}}
    assert document._alike(ours, films.record)
    assert not document._alike(ours, theirs)
    assert not document._alike(ours, {**films.record, "sources": {}})


def test_a_version_without_a_report_says_how_to_get_one(trained: Trained) -> None:
    with pytest.raises(PipelineError, match=r"its recipe is quick: mesh models train classifier"):
        document.gather(trained.home, "classifier", trained.version.name)


def test_the_command_writes_page_card_and_plots(
    reported: dict[str, Trained], tmp_path: Path, content: Document
) -> None:
    page, card = tmp_path / "pages" / "one.html", tmp_path / "docs" / "classifier.md"
    trained = reported["all"]
    arguments = ["--models-path", str(trained.home), "--version", trained.version.name]
    assert command.main([*arguments, "--page", str(page), "--card", str(card)]) == 0
    assert page.read_text() == render.page(content)
    text = card.read_text()
    plots = re.findall(r"!\[[^]]+\]\((classifier/[a-z-]+\.svg)\)", text)
    assert len(plots) == 5
    assert all((card.parent / plot).read_text().startswith("<svg") for plot in plots)
    kept = msgspec.json.decode(
        (card.parent / "classifier/figures.json").read_bytes(), type=Document
    )
    assert render.card(kept, "classifier") == text


def test_the_command_says_in_one_line_what_is_wrong(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--models-path", str(trained.home), "--version", "20200101-000000-abcdef"]
    assert command.main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: classifier:20200101-000000-abcdef is not in the store")


def test_undefined_figures_are_null_and_shown_as_none(tmp_path: Path, content: Document) -> None:
    nothing = Estimate(None, None, None)
    films = content.report.slices["films"]
    bare = msgspec.structs.replace(
        films, binary=msgspec.structs.replace(films.binary, roc_auc=nothing)
    )
    report = msgspec.structs.replace(
        content.report, slices={**content.report.slices, "films": bare}
    )
    figures.write(report, tmp_path / "report.json")
    assert figures.read(tmp_path / "report.json").slices["films"].binary.roc_auc == nothing
    card = render.card(msgspec.structs.replace(content, report=report), "x")
    (row,) = [
        line for line in card.splitlines() if line.startswith(f"| films | {films.binary.texts}")
    ]
    assert row.split("|")[5].strip() == "-"


def test_the_committed_card_says_what_its_figures_say() -> None:
    kept = msgspec.json.decode((CARD.with_suffix("") / "figures.json").read_bytes(), type=Document)
    assert CARD.read_text(encoding="utf-8") == render.card(kept, "classifier")
    for name, svg in render.drawn(kept.report).items():
        assert (CARD.with_suffix("") / f"{name}.svg").read_text(encoding="utf-8") == svg
    assert all(goal.met for goal in kept.report.goals)
