"""The playground as a person has it before them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from playwright.sync_api import Browser, Locator, Page, expect
from scripted_mesh import ScriptedMesh

PATIENCE_MS = 60_000
DESKTOP = (1280, 900)
PHONE = (360, 740)


class Playground:
    """The page.

    Args:
        page: of the browser.
        mesh: that it belongs to.
    """

    def __init__(self, page: Page, mesh: ScriptedMesh) -> None:
        self.page = page
        self.mesh = mesh
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._note)

    @classmethod
    @contextmanager
    def opened(
        cls, browser: Browser, mesh: ScriptedMesh, size: tuple[int, int] = DESKTOP, **context: Any
    ) -> Iterator[Self]:
        """Opens the page; afterwards the browser must have complained of nothing."""
        viewport = {"width": size[0], "height": size[1]}
        with browser.new_context(viewport=viewport, **context) as made:  # type: ignore[arg-type]  # a TypedDict of these two
            shown = cls(made.new_page(), mesh)
            shown.page.goto(f"{mesh.url}/playground")
            yield shown
            assert shown.complaints == []

    def _note(self, message: Any) -> None:
        # What a refusal is worth a line in the browser's console, the page shows.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def type_key(self, key: str | None = None) -> None:
        """Types the mesh's key in, or another one, and waits for what the page says of it."""
        self.page.get_by_label("API key").fill(key or self.mesh.key)
        self.page.get_by_label("API key").press("Tab")
        expect(self.page.locator('[data-part="key-state"]')).not_to_be_empty()

    def choose(self, tab: str) -> Locator:
        """Goes to a service; its panel."""
        self.page.get_by_role("tab", name=tab, exact=True).click()
        return self.panel

    @property
    def panel(self) -> Locator:
        """What is shown of the services."""
        return self.page.locator(".panel:visible")

    def send(self) -> None:
        """Sends the request, and waits until it has been answered or has failed."""
        self.panel.get_by_role("button", name="Send", exact=True).click()
        self.wait()

    def wait(self) -> None:
        """Waits until nothing is under way."""
        expect(self.part("state")).not_to_have_text("Nothing sent yet.")
        expect(self.part("state")).not_to_have_text("Waiting for the answer…")

    def part(self, name: str) -> Locator:
        """A part of the panel."""
        return self.panel.locator(f'[data-part="{name}"]')

    def text(self, name: str) -> str:
        """What a part says, as it is seen."""
        return self.part(name).inner_text()

    def figure(self, name: str) -> str:
        """One of the figures of the answer."""
        box = self.part("figures").locator("div", has_text=name)
        return box.locator("dd").inner_text()

    def lineage(self) -> dict[str, str]:
        """Where the answer says that it comes from."""
        place = self.part("lineage-pairs")
        terms, values = place.locator("dt"), place.locator("dd")
        return dict(zip(terms.all_inner_texts(), values.all_inner_texts(), strict=True))

    def code(self, language: str) -> str:
        """The request in a language."""
        self.panel.get_by_role("tab", name=language, exact=True).click()
        return self.text("snippet")
