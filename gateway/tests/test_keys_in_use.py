"""Keys as they live: their end, their hashing key, their last use, and tokens beside them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from made_tokens import AUDIENCE, ISSUER, JWKS, by_pyjwt
from mesh_gateway import key_upkeep
from meshkit.hashing_keys import HashingKeys
from meshkit.key_records import Grant
from meshkit.keys import ApiKey
from problems import problem
from processes import Mesh, until

CLASSIFY = "/v1/classify"
BODY = {"texts": ["a"]}


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh that accepts the tokens of an issuer."""
    folder = tmp_path_factory.mktemp("trusting")
    (folder / "jwks.json").write_text(json.dumps(JWKS))
    with Mesh(
        folder,
        MESH_GATEWAY_JWT_KEYS=folder / "jwks.json",
        MESH_GATEWAY_JWT_ISSUER=ISSUER,
        MESH_GATEWAY_JWT_AUDIENCE=AUDIENCE,
        MESH_GATEWAY_KEY_RATE="100/h",
    ) as started:
        yield started


def ask(mesh: Mesh, presented: str, text: str = "who") -> tuple[int, dict[str, object]]:
    with mesh.client() as client:
        client.headers["authorization"] = f"Bearer {presented}"
        response = client.post(CLASSIFY, json={"texts": [text]})
        body: dict[str, object] = response.json()
        return response.status_code, body


class TestTokens:
    def test_the_service_knows_who_asks(self, trusting: Mesh) -> None:
        status, body = ask(trusting, by_pyjwt("ES256"))
        assert status == 200
        assert "jwt:alice shop" in json.dumps(body)

    def test_a_token_is_limited_as_a_key_is(self, trusting: Mesh) -> None:
        with trusting.client() as client:
            headers = {"authorization": f"Bearer {by_pyjwt(sub='carol')}"}
            response = client.post(CLASSIFY, json=BODY, headers=headers)
        assert response.headers["ratelimit-policy"] == '"key";q=100;w=3600'

    def test_a_token_without_the_scope_is_refused(self, trusting: Mesh) -> None:
        status, body = ask(trusting, by_pyjwt(scope="classifier:read"))
        assert (status, body["reason"]) == (403, "SCOPE_MISSING")

    def test_a_bad_token_is_the_callers_fault(self, trusting: Mesh) -> None:
        token = by_pyjwt(exp=1)
        status, body = ask(trusting, token)
        assert (status, body["reason"]) == (401, "TOKEN_EXPIRED")
        assert token not in trusting.gateway.log

    def test_tokens_go_on_while_redis_is_away(self, tmp_path: Path) -> None:
        (tmp_path / "jwks.json").write_text(json.dumps(JWKS))
        with Mesh(
            tmp_path,
            MESH_GATEWAY_JWT_KEYS=tmp_path / "jwks.json",
            MESH_GATEWAY_JWT_ISSUER=ISSUER,
            MESH_GATEWAY_JWT_AUDIENCE=AUDIENCE,
        ) as mesh:
            mesh.redis.kill()
            assert ask(mesh, by_pyjwt())[0] == 200
            assert ask(mesh, ApiKey.generate().text)[0] == 503

    def test_without_an_issuer_no_token_counts(self, mesh: Mesh) -> None:
        status, body = ask(mesh, by_pyjwt())
        assert (status, body["reason"]) == (401, "KEY_MALFORMED")


def test_a_key_that_has_expired(mesh: Mesh) -> None:
    key = mesh.make_key(expires_at=datetime.now(UTC) + timedelta(seconds=1.5))
    assert ask(mesh, key.text)[0] == 200
    until(lambda: ask(mesh, key.text)[0] == 401, "its end")
    with mesh.client(key) as client:
        refusal = problem(client.post(CLASSIFY, json=BODY), 401)
    assert refusal["reason"] == "KEY_EXPIRED"
    assert key.id in refusal["detail"]


@pytest.mark.parametrize(
    ("scope", "status"), [("classifier:predict", 200), ("classifier:read", 403)]
)
def test_a_scope_names_a_verb(mesh: Mesh, scope: str, status: int) -> None:
    key = mesh.make_key(scopes=frozenset({scope}))
    assert ask(mesh, key.text)[0] == status


def test_a_rotated_hashing_key_needs_no_restart(
    own_mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(own_mesh.gateway.environment["MESH_HASHING_KEY_PATH"])
    old = own_mesh.make_key()
    rotated = HashingKeys.load(path).rotate(path)
    new, _ = own_mesh.in_store(
        lambda store: store.create(rotated.current, Grant("new", "shop", frozenset({"classifier"})))
    )
    # It reads the file again when it meets the new one, and then knows which is current.
    until(lambda: ask(own_mesh, new.text)[0] == 200, "the new hashing key")
    assert ask(own_mesh, old.text)[0] == 200

    def hashed_anew() -> bool:
        ask(own_mesh, old.text)
        record = own_mesh.in_store(lambda store: store.get(old.id))
        return record is not None and record.hashing_key == rotated.current.id

    until(hashed_anew, "the new hash of the old key")
    assert ask(own_mesh, old.text)[0] == 200


def test_the_last_use_of_a_key_is_kept(mesh: Mesh) -> None:
    key = mesh.make_key()
    before = datetime.now(UTC) - timedelta(seconds=1)
    assert ask(mesh, key.text)[0] == 200

    def used() -> bool:
        found = mesh.in_store(lambda store: store.last_used([key.id])).get(key.id)
        return found is not None and before < found <= datetime.now(UTC)

    assert key_upkeep.WRITE_EVERY_S < 20
    until(used, "the note of its use")
