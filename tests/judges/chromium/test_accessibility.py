"""The playground for everybody: by axe, with the keyboard alone, and on a narrow screen."""

import importlib.resources
import json
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from page_of_playground import DESKTOP, PHONE, Playground
from playwright.sync_api import Browser, Page, expect
from scripted_mesh import ScriptedMesh

pytestmark = pytest.mark.full
TABS = ("Chat", "Completion", "Embeddings", "Classify", "Tensors")
STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
AXE = importlib.resources.files("axe_playwright_python") / "axe.min.js"
LONGEST_TAB_WALK = 60
FOCUSED = "document.activeElement"
# Half-way through a change of colour, axe would measure a contrast that nobody reads.
STILL = """Promise.allSettled(
    document.getAnimations()
        .filter((each) => each instanceof CSSTransition)
        .map((each) => each.finished)
)"""


def faults(page: Page) -> list[tuple[str, str]]:
    """What axe finds wrong, with the element."""
    page.evaluate(STILL)
    page.evaluate(AXE.read_text())
    found: dict[str, Any] = page.evaluate(f"axe.run({{runOnly: {json.dumps(STANDARDS)}}})")
    assert len(found["passes"]) > 20
    return [
        (fault["id"], node["html"][:120])
        for fault in found["violations"]
        for node in fault["nodes"]
    ]


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    """The size of the screen."""
    chosen: tuple[int, int] = request.param
    return chosen


@pytest.fixture(params=["light", "dark"])
def shown(
    browser: Browser,
    mesh: ScriptedMesh,
    size: tuple[int, int],
    request: pytest.FixtureRequest,
) -> Iterator[Playground]:
    """The page in the colours and on the screen."""
    with Playground.opened(browser, mesh, size, color_scheme=request.param) as opened:
        opened.type_key()
        yield opened


def test_axe_finds_nothing_on_any_service(shown: Playground) -> None:
    for tab in TABS:
        shown.choose(tab)
        for details in shown.panel.locator("details:visible").all():
            details.locator("summary").click()
        assert faults(shown.page) == [], tab


def test_axe_finds_nothing_in_answers_and_failures(shown: Playground) -> None:
    for tab in ("Classify", "Tensors"):
        shown.choose(tab)
        shown.send()
        shown.part("wire").locator("summary").click()
        assert faults(shown.page) == [], tab
    shown.panel.get_by_label("Model").fill("weather")
    shown.send()
    expect(shown.part("failure")).to_be_visible()
    assert faults(shown.page) == []


def test_nothing_is_wider_than_the_screen(shown: Playground, size: tuple[int, int]) -> None:
    for tab in TABS:
        shown.choose(tab)
        if tab in ("Classify", "Tensors"):
            shown.send()
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= size[0], tab


def test_what_is_pressed_is_large_enough_for_a_finger(browser: Browser, mesh: ScriptedMesh) -> None:
    with Playground.opened(browser, mesh, PHONE, has_touch=True) as opened:
        for tab in TABS:
            opened.choose(tab)
            for button in opened.page.locator("button:visible, select:visible").all():
                box = button.bounding_box()
                assert box is not None
                assert box["height"] >= 24, button.inner_text()
                assert box["width"] >= 24, button.inner_text()


def test_the_answer_comes_into_sight_on_a_phone(browser: Browser, mesh: ScriptedMesh) -> None:
    with Playground.opened(browser, mesh, PHONE) as opened:
        opened.type_key()
        opened.choose("Classify")
        opened.send()
        expect(opened.part("state")).to_be_in_viewport()


def walk(page: Page, selector: str, key: Literal["Tab", "Shift+Tab"] = "Tab") -> None:
    """Presses a key until an element has the focus, which must be seen at every stop."""
    for _ in range(LONGEST_TAB_WALK):
        page.keyboard.press(key)
        outline = page.evaluate(f"getComputedStyle({FOCUSED}).outlineStyle")
        assert outline == "solid", page.evaluate(f"{FOCUSED}.outerHTML.slice(0, 100)")
        if page.evaluate(f"{FOCUSED}.matches({selector!r})"):
            return
    pytest.fail(f"{LONGEST_TAB_WALK} times {key} did not lead to {selector}")


def test_everything_works_with_the_keyboard_alone(browser: Browser, mesh: ScriptedMesh) -> None:
    with Playground.opened(browser, mesh) as opened:
        page = opened.page
        page.keyboard.press("Tab")
        assert page.evaluate(f"{FOCUSED}.textContent") == "Skip to the services"
        walk(page, "#key")
        page.keyboard.type(mesh.key)
        walk(page, "#tab-chat")
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        expect(page.get_by_role("tab", name="Classify")).to_be_focused()
        walk(page, "#classify-texts")
        page.keyboard.press("Control+a")
        page.keyboard.type("A delight.")
        walk(page, "#panel-classify button.main")
        page.keyboard.press("Enter")
        opened.wait()
        expect(opened.part("answer")).to_contain_text("positive")
        walk(page, "#panel-classify summary")
        page.keyboard.press("Enter")
        expect(opened.part("raw")).to_contain_text("lineage")
        walk(page, '[data-part="copy"]')
        page.keyboard.press("Enter")
        expect(opened.part("copied")).not_to_be_empty()
        walk(page, "#snippet-classify-curl")
        page.keyboard.press("End")
        expect(opened.part("snippet")).to_contain_text("await fetch(")


def test_ctrl_enter_sends_from_within_a_text(playground: Playground) -> None:
    texts = playground.choose("Classify").get_by_label("Texts, one a line")
    texts.fill("Good.")
    texts.press("Control+Enter")
    playground.wait()
    expect(playground.part("answer")).to_contain_text("positive")
    expect(texts).to_be_focused()


def test_tabs_are_one_stop_and_go_round(playground: Playground) -> None:
    page = playground.page
    page.get_by_role("tab", name="Chat", exact=True).focus()
    for key, name in (("ArrowLeft", "Tensors"), ("ArrowRight", "Chat"), ("End", "Tensors")):
        page.keyboard.press(key)
        expect(page.get_by_role("tab", name=name, exact=True)).to_be_focused()
        expect(page.get_by_role("tabpanel", name=name, exact=True)).to_be_visible()
    page.keyboard.press("Home")
    page.keyboard.press("Tab")
    assert page.evaluate(f"{FOCUSED}.id") == "chat-model"


def test_what_happens_is_told_to_those_who_do_not_see_it(playground: Playground) -> None:
    panel = playground.choose("Classify")
    expect(panel.get_by_role("status").first).to_have_text("Nothing sent yet.")
    playground.send()
    expect(panel.get_by_role("status").first).to_contain_text("Complete after")
    panel.get_by_label("Texts, one a line").fill("")
    panel.get_by_role("button", name="Send", exact=True).click()
    expect(panel.get_by_role("alert")).to_contain_text("is empty")


@pytest.mark.parametrize(("motion", "moves"), [("reduce", False), ("no-preference", True)])
def test_nothing_moves_for_who_wants_no_motion(
    browser: Browser, mesh: ScriptedMesh, motion: str, moves: bool
) -> None:
    with Playground.opened(browser, mesh, reduced_motion=motion) as opened:
        opened.page.evaluate("document.querySelector('.panel').classList.add('busy')")
        style = "getComputedStyle(document.querySelector('.busy .state'), '::before').animationName"
        assert (opened.page.evaluate(style) != "none") is moves
