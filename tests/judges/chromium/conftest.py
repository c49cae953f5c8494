"""One mesh and one browser for every test of this judge."""

import shutil
from collections.abc import Iterator

import pytest
from page_of_playground import Playground
from playwright.sync_api import Browser, sync_playwright
from real_mesh import trained_models
from scripted_mesh import ScriptedMesh, trained_embedder


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedMesh]:
    """A mesh that nobody else uses."""
    folder = tmp_path_factory.mktemp("mesh")
    with ScriptedMesh(folder, trained_models(), embedder=trained_embedder()) as started:
        yield started


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The machine's Chromium."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium on this machine (Debian has it as a package)")
    with sync_playwright() as playwright:
        # In a container there is no sandbox for it to make; it sees nothing but this mesh.
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def playground(browser: Browser, mesh: ScriptedMesh) -> Iterator[Playground]:
    """The page on a desktop, with the key typed in; it must end without a word in the console."""
    with Playground.opened(browser, mesh) as page:
        page.type_key()
        yield page
