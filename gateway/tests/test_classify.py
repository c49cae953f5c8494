"""A prediction, from HTTP to the service and back."""

import re

import httpx
import pytest

from processes import Mesh

LINEAGE = {
    "model": "classifier",
    "version": "stand-in-1",
    "variant": "default",
    "run": "none",
    "deployment": "test",
    "feature_age_seconds": None,
}


def classify(client: httpx.Client, *texts: str, **headers: str) -> httpx.Response:
    return client.post("/v1/classify", json={"texts": texts}, headers=headers)


def labels(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [result["label"] for result in response.json()["results"]]


def test_a_text_is_classified(client: httpx.Client) -> None:
    response = classify(client, "good")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "results": [
            {
                "status": "ok",
                "label": "good",
                "probabilities": {"negative": 0.25, "positive": 0.75},
                "valence": 1.5,
                "truncated": False,
                "degraded": None,
            }
        ],
        "lineage": LINEAGE,
    }


def test_results_stand_in_the_order_of_the_texts(client: httpx.Client) -> None:
    texts = ["one", "two", "three", "4 \N{SNOWMAN} \0 \N{PILE OF POO}"]
    assert labels(classify(client, *texts)) == texts


def test_what_else_the_service_says_comes_through(client: httpx.Client) -> None:
    results = classify(client, "truncated", "degraded", "item error").json()["results"]
    assert results[0]["truncated"] is True
    assert results[1]["degraded"] == {"reason": "a rule"}
    assert results[2] == {
        "status": "error",
        "error": {
            "code": "INTERNAL",
            "reason": "MODEL_FAILED",
            "message": "the model failed",
            "retryable": True,
        },
    }


@pytest.mark.parametrize(
    ("body", "allowed"),
    [
        ({}, "True"),
        ({"allow_degraded": True}, "True"),
        ({"allow_degraded": False}, "False"),
    ],
)
def test_a_fallback_is_allowed_unless_refused(
    client: httpx.Client, body: dict[str, bool], allowed: str
) -> None:
    response = client.post("/v1/classify", json={"texts": ["allow_degraded"], **body})
    assert labels(response) == [allowed]


def test_the_service_learns_who_asks(mesh: Mesh, client: httpx.Client) -> None:
    response = classify(client, "who", **{"x-request-id": "order-4711/a"})
    assert labels(response) == [f"{mesh.key.id} shop order-4711/a"]
    assert response.headers["x-request-id"] == "order-4711/a"


def test_who_asks_is_not_the_callers_to_say(mesh: Mesh, client: httpx.Client) -> None:
    forged = {"x-mesh-key-id": "other", "x-mesh-tenant": "other", "x-request-id": "1"}
    assert labels(classify(client, "who", **forged)) == [f"{mesh.key.id} shop 1"]


@pytest.mark.parametrize("malformed", ["", "two words", "x" * 129, "caf\u00e9"])
def test_a_malformed_request_id_is_replaced(client: httpx.Client, malformed: str) -> None:
    response = client.post(
        "/v1/classify",
        json={"texts": ["who"]},
        headers=[(b"x-request-id", malformed.encode())],
    )
    made = response.headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", made)
    assert labels(response)[0].endswith(f" {made}")


def test_the_callers_time_is_the_services_time(client: httpx.Client) -> None:
    left_s = float(labels(classify(client, "time", **{"x-request-timeout-ms": "7000"}))[0])
    assert 0 < left_s <= 7
    default_s = float(labels(classify(client, "time"))[0])
    assert 7 < default_s <= 10


def test_nobody_gets_more_time_than_the_most(client: httpx.Client) -> None:
    left_s = float(labels(classify(client, "time", **{"x-request-timeout-ms": "9999999999"}))[0])
    assert 10 < left_s <= 600


def test_the_time_in_the_gateway_is_told(client: httpx.Client) -> None:
    timing = classify(client, "good").headers["server-timing"]
    match = re.fullmatch(r"gateway;dur=(\d+\.\d{3}), backend;dur=(\d+\.\d{3})", timing)
    assert match is not None
    assert float(match[2]) > 0
