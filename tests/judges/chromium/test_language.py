"""The playground's language model and embedder, tried in a browser."""

import pytest
from page_of_playground import Playground
from playwright.sync_api import Locator, expect
from scripted_mesh import trained_embedder
from test_accessibility import faults

pytestmark = pytest.mark.full
CALL = 'call get_weather {"city": "Lisbon"}'


def say(playground: Playground, script: str) -> None:
    """Sends a message."""
    playground.panel.get_by_label("Your message").fill(script)
    playground.send()


def messages(playground: Playground) -> Locator:
    """What has been said."""
    return playground.part("answer").locator("li.message")


def offer_tools(playground: Playground, choice: str = "auto") -> None:
    """Offers the tools that the page has."""
    playground.panel.get_by_text("Tools", exact=True).click()
    playground.panel.get_by_label("Whether the model calls one").select_option(choice)


def test_an_answer_is_streamed_with_its_figures_and_its_lineage(playground: Playground) -> None:
    say(playground, "say It is 19 degrees.")
    expect(messages(playground)).to_have_count(2)
    expect(messages(playground).nth(1)).to_contain_text("It is 19 degrees.")
    assert playground.figure("HTTP status") == "200"
    assert playground.figure("First chunk").endswith(" ms")
    assert playground.figure("Tokens out") == "4"
    assert float(playground.figure("Tokens/s")) > 0
    assert playground.lineage()["model"] == "llm"
    assert "version" in playground.lineage()
    raw = str(playground.part("raw").text_content())
    assert raw.rstrip().endswith("data: [DONE]")


def test_an_answer_that_comes_whole_is_the_same(playground: Playground) -> None:
    playground.panel.get_by_label("Stream the answer").uncheck()
    say(playground, "say It is 19 degrees.")
    expect(messages(playground).nth(1)).to_contain_text("It is 19 degrees.")
    assert playground.figure("Tokens out") == "4"
    assert playground.lineage()["model"] == "llm"


def test_a_conversation_goes_on_and_begins_anew(playground: Playground) -> None:
    say(playground, "say Hello.")
    expect(playground.panel.get_by_label("Your message")).to_have_value("")
    say(playground, "say Again.")
    expect(messages(playground)).to_have_count(4)
    code = playground.code("curl")
    assert '"content": "Hello."' in code
    playground.panel.get_by_role("button", name="New conversation").click()
    expect(messages(playground)).to_have_count(0)
    say(playground, "say Anew.")
    assert "Hello." not in playground.code("curl")


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_a_tool_is_called_and_told(playground: Playground, *, streamed: bool) -> None:
    playground.panel.get_by_label("Stream the answer").set_checked(streamed)
    offer_tools(playground)
    say(playground, CALL)
    expect(playground.part("state")).to_have_text(
        "The model calls a tool, and waits for the result."
    )
    expect(messages(playground).nth(1)).to_contain_text("Calls get_weather")
    expect(messages(playground).nth(1).locator("pre")).to_have_text('{"city": "Lisbon"}')
    expect(playground.panel.get_by_label("Your message")).to_be_disabled()
    assert faults(playground.page) == []
    playground.panel.get_by_label("Result of get_weather").fill("19 degrees")
    playground.panel.get_by_role("button", name="Send the result").click()
    expect(messages(playground).last).to_contain_text("the tool said 19 degrees")
    playground.wait()
    expect(messages(playground)).to_have_count(4)
    expect(playground.panel.get_by_label("Your message")).to_be_enabled()


def test_several_calls_wait_for_a_result_each(playground: Playground) -> None:
    offer_tools(playground)
    say(playground, f"{CALL}\n{CALL.replace('Lisbon', 'Porto')}")
    results = playground.panel.get_by_label("Result of get_weather")
    expect(results).to_have_count(2)
    results.nth(0).fill("19")
    results.nth(1).fill("17")
    playground.panel.get_by_role("button", name="Send the result").click()
    expect(messages(playground).last).to_contain_text("the tool said 17")
    expect(messages(playground)).to_have_count(5)


def test_a_form_of_the_answer_is_asked_for(playground: Playground) -> None:
    playground.panel.get_by_text("Form of the answer", exact=True).click()
    playground.panel.get_by_label("The answer is").select_option("json_schema")
    say(playground, "request")
    expect(messages(playground).last).to_contain_text("json_schema")


def test_it_can_be_stopped(playground: Playground) -> None:
    panel, gateway = playground.panel, playground.mesh.gateway
    panel.get_by_label("Your message").fill("pause 20\nwords 100000")
    panel.get_by_role("button", name="Send", exact=True).click()
    expect(messages(playground).last).to_contain_text("word5")
    panel.get_by_role("button", name="Stop").click()
    expect(playground.part("state")).to_have_text("Stopped.")
    expect(panel.get_by_role("button", name="Send", exact=True)).to_be_focused()
    playground.mesh.until(
        lambda: gateway.metric("mesh_client_outstanding") == 0, "the generation has ended"
    )
    say(playground, "say Hello.")
    expect(messages(playground).last).to_contain_text("Hello.")


def test_a_stream_that_breaks_off_is_told_with_what_came(playground: Playground) -> None:
    say(playground, "say one two\nfail Unavailable")
    expect(playground.part("failure")).to_contain_text("The stream was broken off")
    expect(messages(playground).last).to_contain_text("one two")
    assert faults(playground.page) == []
    # What was asked is still there, to be sent again.
    expect(playground.panel.get_by_label("Your message")).not_to_have_value("")


def test_what_the_door_refuses_is_named(playground: Playground) -> None:
    playground.panel.get_by_label("Model", exact=True).fill("weather")
    say(playground, "say Hi.")
    expect(playground.part("failure")).to_contain_text("There is no such thing (404)")
    expect(playground.part("failure")).to_contain_text("code: model_not_found")


def test_a_text_is_continued(playground: Playground) -> None:
    panel = playground.choose("Completion")
    panel.get_by_label("Text to continue").fill("say one two three")
    playground.send()
    expect(playground.part("answer")).to_contain_text("one two three")
    assert playground.figure("Tokens out") == "3"


@pytest.mark.skipif(trained_embedder() is None, reason="there is no embedder in the model store")
def test_texts_are_compared(playground: Playground) -> None:
    playground.choose("Embeddings")
    playground.send()
    cells = playground.part("answer").locator("tbody tr").nth(0).locator("td")
    same, alike, unlike = (float(each) for each in cells.all_inner_texts())
    assert same == pytest.approx(1, abs=0.001)
    assert alike > unlike
    assert faults(playground.page) == []
