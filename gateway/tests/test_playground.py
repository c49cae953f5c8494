"""The playground as it is served; `tests/judges/chromium` has a browser for what it does."""

import re
from collections.abc import Iterator

import httpx
import pytest

from mesh_gateway.playground import pages
from processes import Mesh

URL = re.compile(r"""(?:src|href)="([^"]+)"|from "\./([^"]+)\"""")


@pytest.fixture
def stranger(mesh: Mesh) -> Iterator[httpx.Client]:
    """A client without a key."""
    with httpx.Client(base_url=mesh.gateway.url) as opened:
        yield opened


def parts(client: httpx.Client) -> dict[str, httpx.Response]:
    """The page and everything that it asks for, by path."""
    found = {pages.PATH: client.get(pages.PATH)}
    waiting = [pages.PATH]
    while waiting:
        for linked, imported in URL.findall(found[waiting.pop()].text):
            path = f"{pages.PATH}/{imported}" if imported else f"/{linked}"
            if path.startswith(pages.PATH) and path not in found:
                found[path] = client.get(path)
                waiting.append(path)
    return found


def test_the_page_is_there_without_a_key_and_with_all_of_its_parts(stranger: httpx.Client) -> None:
    found = parts(stranger)
    assert {path for path, each in found.items() if each.status_code != 200} == set()
    assert {each.headers["content-type"] for each in found.values()} == {
        "text/html; charset=utf-8",
        "text/css; charset=utf-8",
        "text/javascript; charset=utf-8",
        "image/svg+xml",
    }
    assert len(found) >= 15


def test_it_names_no_other_host(stranger: httpx.Client) -> None:
    for path, part in parts(stranger).items():
        hosts = set(re.findall(r"https?://([^/\"'`\s]+)", part.text))
        assert hosts <= {"www.w3.org"}, path  # the name of SVG's elements


def test_what_it_may_do_is_said_with_every_part(stranger: httpx.Client) -> None:
    for part in parts(stranger).values():
        policy = part.headers["content-security-policy"].split("; ")
        assert "default-src 'none'" in policy
        assert "connect-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert not [each for each in policy if "unsafe" in each or ":" in each or "*" in each]
        assert part.headers["x-content-type-options"] == "nosniff"
        assert part.headers["referrer-policy"] == "no-referrer"


def test_nothing_in_it_is_inline(stranger: httpx.Client) -> None:
    page = stranger.get(pages.PATH).text
    assert re.findall(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", page) == []


def test_a_browser_that_has_it_is_told_so(stranger: httpx.Client) -> None:
    first = stranger.get(f"{pages.PATH}/main.js")
    assert first.headers["cache-control"] == "no-cache"
    for known in (first.headers["etag"], f'"other", W/{first.headers["etag"]}'):
        again = stranger.get(f"{pages.PATH}/main.js", headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
    changed = stranger.get(f"{pages.PATH}/main.js", headers={"if-none-match": '"other"'})
    assert changed.content == first.content


def test_its_head_is_that_of_its_body(stranger: httpx.Client) -> None:
    head = stranger.head(pages.PATH)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == stranger.get(pages.PATH).headers["etag"]


def test_a_slash_at_its_end_leads_to_it(stranger: httpx.Client) -> None:
    answer = stranger.get(f"{pages.PATH}/", follow_redirects=True)
    assert (answer.status_code, answer.url.path) == (200, pages.PATH)


@pytest.mark.parametrize(
    "name", ["index.html", "nothing.js", "../pages.py", "..%2fpages.py", "%2e%2e/pages.py", "a/b"]
)
def test_nothing_else_is_there(stranger: httpx.Client, name: str) -> None:
    answer = stranger.get(f"{pages.PATH}/{name}")
    assert answer.status_code == 404
    assert answer.json()["reason"] == "ROUTE_NOT_FOUND"
