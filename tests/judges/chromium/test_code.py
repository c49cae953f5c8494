"""The code that the page writes does, as it stands, what the page does."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

import pytest
from page_of_playground import Playground
from playwright.sync_api import Browser, expect
from scripted_mesh import ScriptedMesh, trained_embedder
from test_language import offer_tools

pytestmark = pytest.mark.full
LONGEST_S = 120
# A quote of each kind, what a shell would replace, a line break and a letter beyond ASCII.
TRICKY = 'It\'s "naïve" $HOME `x` \\n\nA second line.'


def said(playground: Playground, command: Sequence[str]) -> str:
    """What a command says that has the key in its environment."""
    ran = subprocess.run(
        command,
        env={**os.environ, "MESH_API_KEY": playground.mesh.key},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def run_python(playground: Playground) -> str:
    """What the code in Python says."""
    return said(playground, [sys.executable, "-c", playground.code("Python")])


def run_curl(playground: Playground) -> str:
    """What the line for curl says."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl on this machine")
    return said(playground, ["bash", "-c", playground.code("curl")])


def test_it_is_copied_as_it_is_seen(browser: Browser, mesh: ScriptedMesh) -> None:
    allowed = ["clipboard-read", "clipboard-write"]
    with Playground.opened(browser, mesh, permissions=allowed) as opened:
        opened.choose("Classify")
        code = opened.code("Python")
        opened.panel.get_by_role("button", name="Copy").click()
        expect(opened.part("copied")).to_have_text("Copied.")
        assert opened.page.evaluate("navigator.clipboard.readText()") == code
        opened.code("curl")
        expect(opened.part("copied")).to_be_empty()


def test_it_is_selected_where_there_is_no_clipboard(playground: Playground) -> None:
    # As in a page that came over plain HTTP from another machine.
    playground.page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    playground.choose("Classify")
    code = playground.code("Python")
    playground.panel.get_by_role("button", name="Copy").click()
    expect(playground.part("copied")).to_contain_text("Selected")
    assert playground.page.evaluate("getSelection().toString()") == code


def test_a_classification(playground: Playground) -> None:
    panel = playground.choose("Classify")
    panel.get_by_label("Texts, one a line").fill(TRICKY)
    panel.get_by_label("A fallback may answer").uncheck()
    for answer in (run_curl(playground), run_python(playground)):
        assert answer.count("valence") == 2


def test_tensors(playground: Playground) -> None:
    playground.choose("Tensors")
    assert '"positive"' in run_curl(playground)
    assert "'positive'" in run_python(playground)


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_a_chat(playground: Playground, *, streamed: bool) -> None:
    playground.panel.get_by_label("Stream the answer").set_checked(streamed)
    playground.panel.get_by_label("Your message").fill(f"say {TRICKY}".replace("\n", " "))
    expected = TRICKY.replace("\n", " ")
    printed = run_python(playground)
    if streamed:
        assert printed == f"{expected}\n"
        assert run_curl(playground).rstrip().endswith("data: [DONE]")
    else:
        assert "naïve" in printed
        assert '"chat.completion"' in run_curl(playground)


def test_a_chat_with_tools_and_a_schema(playground: Playground) -> None:
    offer_tools(playground, "required")
    playground.panel.get_by_label("Stream the answer").uncheck()
    playground.panel.get_by_label("Your message").fill("say no")
    assert "get_weather" in run_curl(playground)
    assert "get_weather" in run_python(playground)


def test_a_completion(playground: Playground) -> None:
    panel = playground.choose("Completion")
    panel.get_by_label("Text to continue").fill("say one two three")
    assert run_python(playground) == "one two three\n"
    assert "[DONE]" in run_curl(playground)


@pytest.mark.skipif(trained_embedder() is None, reason="there is no embedder in the model store")
def test_embeddings(playground: Playground) -> None:
    playground.choose("Embeddings")
    assert run_python(playground).count('"index"') == 3
    assert run_curl(playground).count('"index"') == 3
