"""What operators and tools ask of the gateway."""

import re

import httpx

from processes import CLASSIFIER_ALONE, Mesh, until


def test_health_says_that_the_process_runs(client: httpx.Client) -> None:
    response = client.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_ready_says_how_everything_is(mesh: Mesh, client: httpx.Client) -> None:
    until(lambda: mesh.gateway.state()["key_store"] == "ready", "the first ping")
    response = client.get("/ready")
    assert response.status_code == 200
    assert response.json() == {
        "ready": True,
        "backends": CLASSIFIER_ALONE,
        "key_store": "ready",
    }


def test_the_page_of_the_api_needs_no_other_host(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    used = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(used) >= 2
    for path in used:
        assert path.startswith("/docs/assets/")
        assert client.get(path).status_code == 200


def test_the_assets_hold_nothing_else(client: httpx.Client) -> None:
    assert client.get("/docs/assets/../../settings.py").status_code == 404
    assert client.get("/docs/assets/%2e%2e/core.py").status_code == 404
