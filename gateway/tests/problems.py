"""What every refusal must look like."""

from typing import Any

import httpx

_TYPES = {
    "OVERLOADED": "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
    "QUOTA_EXCEEDED": "https://iana.org/assignments/http-problem-types#quota-exceeded",
}


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem in a response, once its form is checked."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["type"] == _TYPES.get(body["reason"], "about:blank")
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == response.url.path
    assert body["request_id"] == response.headers["x-request-id"]
    return body
