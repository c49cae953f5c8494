"""The key is in the page's memory and nowhere else."""

from urllib.parse import unquote

import pytest
from page_of_playground import Playground
from playwright.sync_api import Browser, expect
from scripted_mesh import ScriptedMesh

pytestmark = pytest.mark.full
TABS = ("Chat", "Completion", "Embeddings", "Classify", "Tensors")
STORED = """async () => JSON.stringify([
    {...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state,
    await indexedDB.databases(), await caches.keys(),
])"""


def test_it_is_stored_nowhere(playground: Playground) -> None:
    playground.choose("Classify")
    playground.send()
    assert playground.mesh.key not in unquote(playground.page.evaluate(STORED))
    assert playground.page.evaluate(STORED).startswith('[{},{},"",')
    assert playground.page.context.cookies() == []


def test_no_address_and_no_markup_has_it(playground: Playground) -> None:
    asked: list[str] = []
    playground.page.on("request", lambda request: asked.append(request.url))
    for tab in TABS:
        playground.choose(tab)
    playground.choose("Classify")
    playground.send()
    assert asked
    assert not [url for url in asked if playground.mesh.key in unquote(url)]
    assert playground.mesh.key not in playground.page.content()


def test_it_is_in_no_code_and_in_nothing_that_was_received(playground: Playground) -> None:
    for tab in TABS:
        playground.choose(tab)
        for language in ("curl", "Python", "JavaScript"):
            assert playground.mesh.key not in playground.code(language)
    playground.choose("Classify")
    playground.send()
    assert playground.mesh.key not in str(playground.part("raw").text_content())


def test_a_reload_and_the_way_back_forget_it(playground: Playground) -> None:
    page = playground.page
    page.reload()
    expect(page.get_by_label("API key")).to_have_value("")
    playground.type_key()
    page.goto(f"{playground.mesh.url}/health")
    page.go_back()
    playground.choose("Classify")
    expect(page.get_by_label("API key")).to_have_value("")


def test_it_is_hidden_until_it_is_asked_for(playground: Playground) -> None:
    field = playground.page.get_by_label("API key")
    expect(field).to_have_attribute("type", "password")
    reveal = playground.page.get_by_role("button", name="Show")
    reveal.click()
    expect(field).to_have_attribute("type", "text")
    expect(reveal).to_have_attribute("aria-pressed", "true")
    reveal.click()
    expect(field).to_have_attribute("type", "password")


def test_characters_that_no_key_has_are_never_sent(playground: Playground) -> None:
    playground.page.get_by_label("API key").fill("mesh_ключ")
    panel = playground.choose("Classify")
    panel.get_by_role("button", name="Send", exact=True).click()
    expect(playground.part("failure")).to_contain_text("The key has characters that no key has")
    expect(playground.page.get_by_label("API key")).to_be_focused()


def test_nothing_is_asked_of_another_host(browser: Browser, mesh: ScriptedMesh) -> None:
    with Playground.opened(browser, mesh) as opened:
        asked: list[str] = []
        opened.page.on("request", lambda request: asked.append(request.url))
        opened.page.reload()
        opened.type_key()
        opened.choose("Classify")
        opened.send()
        assert len(asked) > 10
        assert [url for url in asked if not url.startswith(mesh.url)] == []
