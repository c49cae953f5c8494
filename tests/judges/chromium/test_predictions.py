"""The playground's services whose answers come whole, tried in a browser."""

import pytest
from page_of_playground import Playground
from playwright.sync_api import expect

pytestmark = pytest.mark.full


def test_texts_are_classified(playground: Playground) -> None:
    panel = playground.choose("Classify")
    panel.get_by_label("Texts, one a line").fill("A quiet film that stays with you.\n\nAwful!")
    playground.send()
    results = playground.part("answer").locator("li")
    expect(results).to_have_count(2)
    expect(results.nth(0)).to_contain_text("A quiet film that stays with you.")
    expect(results.nth(0).locator(".label")).to_have_text("positive")
    expect(results.nth(1).locator(".label")).to_have_text("negative")
    shares = [float(each.split()[0]) for each in results.nth(0).locator(".value").all_inner_texts()]
    assert len(shares) == 3
    assert sum(shares) == pytest.approx(100, abs=0.2)


def test_what_it_took_and_where_it_comes_from_is_said(playground: Playground) -> None:
    playground.choose("Classify")
    playground.send()
    assert playground.figure("HTTP status") == "200"
    assert playground.figure("Total").endswith(" ms")
    assert float(playground.figure("In the service").split()[0]) > 0
    found = playground.lineage()
    assert found["model"] == "classifier"
    assert found["variant"] == "default"
    assert found["request"] in str(playground.part("raw").text_content())
    expect(playground.part("state")).to_contain_text("Complete after")


def test_tensors_are_shown_with_their_lineage(playground: Playground) -> None:
    playground.choose("Tensors")
    playground.send()
    row = playground.part("answer").locator("tr", has_text="label")
    expect(row).to_contain_text("BYTES [2]")
    expect(row).to_contain_text("positive, negative")
    assert playground.lineage()["model"] == "classifier"


def test_what_is_wrong_with_the_request_is_said_in_words(playground: Playground) -> None:
    panel = playground.choose("Tensors")
    panel.get_by_label("Model").fill("weather")
    playground.send()
    failure = playground.part("failure")
    expect(failure).to_contain_text("There is no such thing (404)")
    expect(failure).to_contain_text("there is no model 'weather'")
    expect(failure).to_contain_text("Request id: ")
    assert playground.figure("HTTP status") == "404"


@pytest.mark.parametrize(
    ("key", "title", "words"),
    [
        ("", "The key is not accepted (401)", "cli/mesh keys create"),
        ("mesh_nonsense", "The key is not accepted (401)", "malformed"),
    ],
)
def test_a_key_that_does_not_fit_is_told(
    playground: Playground, key: str, title: str, words: str
) -> None:
    playground.page.get_by_label("API key").fill(key)
    playground.choose("Classify")
    playground.send()
    expect(playground.part("failure")).to_contain_text(title)
    expect(playground.part("failure")).to_contain_text(words)


def test_a_field_that_can_t_be_sent_is_named_and_has_the_focus(playground: Playground) -> None:
    panel = playground.choose("Classify")
    texts = panel.get_by_label("Texts, one a line")
    texts.fill("  \n ")
    panel.get_by_role("button", name="Send", exact=True).click()
    expect(playground.part("failure")).to_contain_text('"Texts, one a line" is empty')
    expect(texts).to_be_focused()
    expect(texts).to_have_attribute("aria-invalid", "true")
    texts.fill("Good.")
    playground.send()
    expect(playground.part("failure")).to_be_hidden()
    expect(texts).not_to_have_attribute("aria-invalid", "true")


def test_json_that_is_none_is_said_before_anything_is_sent(playground: Playground) -> None:
    panel = playground.choose("Tensors")
    panel.get_by_label("Request, as JSON").fill('{"inputs": [')
    panel.get_by_role("button", name="Send", exact=True).click()
    expect(playground.part("failure")).to_contain_text('"Request, as JSON" is not JSON')
    expect(playground.part("figures")).to_be_empty()


def test_a_gateway_that_is_away_is_told_in_words(playground: Playground) -> None:
    playground.choose("Classify")
    playground.page.context.set_offline(True)
    playground.send()
    expect(playground.part("failure")).to_contain_text("The gateway can't be reached")
    playground.page.context.set_offline(False)
    playground.send()
    expect(playground.part("failure")).to_be_hidden()


def test_what_an_answer_says_is_text_and_never_markup(playground: Playground) -> None:
    panel = playground.choose("Classify")
    panel.get_by_label("Texts, one a line").fill("<img src=x onerror=alert(1)><b>Good</b>")
    playground.send()
    quote = playground.part("answer").locator("blockquote")
    expect(quote).to_have_text("<img src=x onerror=alert(1)><b>Good</b>")
    expect(playground.part("answer").locator("img, b")).to_have_count(0)


def test_the_state_of_the_services_is_at_the_top(playground: Playground) -> None:
    states = playground.page.get_by_role("list", name="State of the services")
    expect(states).to_contain_text("classifier: ready")
