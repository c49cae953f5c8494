"""Keys over real HTTP: who may come in, and what the others are told."""

from collections.abc import Iterator

import httpx
import pytest

from meshkit import keys
from meshkit.keys import ApiKey
from problems import problem
from processes import Mesh

CLASSIFY = "/v1/classify"
BODY = {"texts": ["a"]}


@pytest.fixture
def anonymous(mesh: Mesh) -> Iterator[httpx.Client]:
    with mesh.client() as client:
        del client.headers["authorization"]
        yield client


def with_key(client: httpx.Client, text: str, header: str = "authorization") -> httpx.Response:
    value = f"Bearer {text}" if header == "authorization" else text
    return client.post(CLASSIFY, json=BODY, headers={header: value})


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_a_key_comes_in_two_headers(mesh: Mesh, anonymous: httpx.Client, header: str) -> None:
    assert with_key(anonymous, mesh.key.text, header).status_code == 200


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
def test_the_scheme_is_read_kindly(mesh: Mesh, anonymous: httpx.Client, scheme: str) -> None:
    headers = {"authorization": f"{scheme} {mesh.key.text}"}
    assert anonymous.post(CLASSIFY, json=BODY, headers=headers).status_code == 200


def test_the_own_header_wins(mesh: Mesh, anonymous: httpx.Client) -> None:
    headers = {"authorization": "Basic dXNlcjpwYXNz", "x-api-key": mesh.key.text}
    assert anonymous.post(CLASSIFY, json=BODY, headers=headers).status_code == 200


def refused(response: httpx.Response, reason: str, *words: str) -> None:
    refusal = problem(response, 401)
    assert refusal["reason"] == reason
    assert response.headers["www-authenticate"] == 'Bearer realm="mesh"'
    for word in words:
        assert word in refusal["detail"]


def test_no_key(anonymous: httpx.Client) -> None:
    response = anonymous.post(CLASSIFY, json=BODY)
    refused(response, "KEY_MISSING", "Authorization: Bearer <key>", "x-api-key", "mesh keys create")


def test_another_scheme(anonymous: httpx.Client) -> None:
    response = anonymous.post(CLASSIFY, json=BODY, headers={"authorization": "Basic dXNlcjpwYXNz"})
    refused(response, "KEY_MISSING", "Bearer")


@pytest.mark.parametrize("text", ["secret", "mesh_", "mesh_abcdefghijkl_short"])
def test_a_malformed_key(anonymous: httpx.Client, text: str) -> None:
    refused(with_key(anonymous, text), "KEY_MALFORMED", "copy it whole")


def test_a_mistyped_key(mesh: Mesh, anonymous: httpx.Client) -> None:
    text = mesh.key.text
    mistyped = text[:30] + ("a" if text[30] != "a" else "b") + text[31:]
    refused(with_key(anonymous, mistyped), "KEY_MALFORMED")


def test_an_unknown_key(anonymous: httpx.Client) -> None:
    refused(with_key(anonymous, ApiKey.generate().text), "KEY_UNKNOWN", "not known")


def test_the_right_id_with_another_secret(mesh: Mesh, anonymous: httpx.Client) -> None:
    """The checksum of a forged key can be right: it is no secret."""
    unchecked = f"mesh_{mesh.key.id}_{'x' * 32}"
    forged = ApiKey.parse(unchecked + keys._checksum(unchecked))
    refused(with_key(anonymous, forged.text), "KEY_UNKNOWN")


def test_a_revoked_key(mesh: Mesh, anonymous: httpx.Client) -> None:
    key = mesh.make_key()
    mesh.revoke(key)
    refused(with_key(anonymous, key.text), "KEY_REVOKED", key.id, "revoked")


def test_a_key_without_the_scope(mesh: Mesh, anonymous: httpx.Client) -> None:
    key = mesh.make_key()
    mesh.set_scopes(key, "another")
    refusal = problem(with_key(anonymous, key.text), 403)
    assert refusal["reason"] == "SCOPE_MISSING"
    assert key.id in refusal["detail"]
    assert "classifier" in refusal["detail"]


def test_operations_need_no_key(anonymous: httpx.Client) -> None:
    for path in ("/health", "/ready", "/docs", "/openapi.json"):
        assert anonymous.get(path).status_code == 200


def test_no_secret_is_written_anywhere(mesh: Mesh, anonymous: httpx.Client) -> None:
    key = mesh.make_key()
    responses = [with_key(anonymous, key.text), with_key(anonymous, key.text + "x")]
    mesh.revoke(key)
    responses.append(with_key(anonymous, key.text, "x-api-key"))
    secret = key.text.rpartition("_")[2]
    told = "".join(response.text + str(response.headers) for response in responses)
    assert secret not in told + mesh.gateway.metrics() + mesh.gateway.log + mesh.service.log
