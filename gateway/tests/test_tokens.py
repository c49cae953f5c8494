"""JWTs made by two libraries: which ones count, and what the others are told."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from made_tokens import (
    AUDIENCE,
    ISSUER,
    JWKS,
    OTHER_RSA,
    PRIVATE,
    PUBLIC_PEM,
    FromNow,
    by_joserfc,
    by_pyjwt,
    claims,
    hs256_with_the_public_key,
    jwk_of,
    raw,
)
from mesh_gateway.jwks import KeySet
from mesh_gateway.tokens import MAX_TOKEN_BYTES, TokenRules, Tokens
from meshkit.errors import Unauthenticated

RULES = TokenRules(ISSUER, AUDIENCE, ("RS256", "ES256", "EdDSA"), 30.0, "tenant", "scope")


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(JWKS))
    return Tokens(KeySet(str(path)).find, RULES)


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # joserfc prefers the name Ed25519
@pytest.mark.parametrize("make", [by_pyjwt, by_joserfc])
@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_good_token_proves_its_caller(
    tokens: Tokens, make: Callable[..., str], algorithm: str
) -> None:
    caller = await tokens.caller(make(algorithm))
    assert (caller.key_id, caller.tenant) == ("jwt:alice", "shop")
    assert caller.scopes == {"classifier:predict"}
    assert (caller.rate, caller.max_concurrent) == (None, None)


async def refused(tokens: Tokens, token: str) -> tuple[str, str]:
    with pytest.raises(Unauthenticated) as error:
        await tokens.caller(token)
    assert token not in error.value.message
    return error.value.reason, error.value.message


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"exp": 1}, "TOKEN_EXPIRED"),
        ({"exp": FromNow(-31)}, "TOKEN_EXPIRED"),
        ({"nbf": FromNow(300)}, "TOKEN_NOT_YET_VALID"),
        ({"aud": "another"}, "TOKEN_AUDIENCE"),
        ({"aud": ["some", "others"]}, "TOKEN_AUDIENCE"),
        ({"iss": "https://evil.example"}, "TOKEN_ISSUER"),
        ({"exp": None}, "TOKEN_CLAIM_MISSING"),
        ({"aud": None}, "TOKEN_CLAIM_MISSING"),
        ({"iss": None}, "TOKEN_CLAIM_MISSING"),
        ({"sub": None}, "TOKEN_CLAIM_MISSING"),
        ({"tenant": None}, "TOKEN_CLAIM_MISSING"),
        ({"tenant": 7}, "TOKEN_CLAIM_MISSING"),
        ({"tenant": "two\nlines"}, "TOKEN_CLAIM_MISSING"),
        ({"exp": "soon"}, "TOKEN_MALFORMED"),
        ({"exp": 1e400}, "TOKEN_MALFORMED"),
        ({"nbf": "later"}, "TOKEN_MALFORMED"),
        ({"sub": 7}, "TOKEN_MALFORMED"),
    ],
)
async def test_a_claim_that_is_wrong(tokens: Tokens, changed: dict[str, Any], reason: str) -> None:
    token = raw({"alg": "RS256", "kid": "rs256"}, claims(**changed), sign=True)
    assert (await refused(tokens, token))[0] == reason


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": FromNow(-20)},
        {"nbf": FromNow(20)},
        {"aud": ["another", AUDIENCE]},
        {"scope": ["classifier:predict", "openid"]},
        {"scp": 7},
    ],
)
async def test_what_is_good_enough(tokens: Tokens, changed: dict[str, Any]) -> None:
    assert (await tokens.caller(by_pyjwt(**changed))).scopes == {"classifier:predict"}


@pytest.mark.parametrize("scope", [None, "", "openid", 7, {"classifier": True}, [7]])
async def test_a_token_without_scopes_of_ours_may_nothing(tokens: Tokens, scope: Any) -> None:
    assert (await tokens.caller(by_pyjwt(scope=scope))).scopes == frozenset()


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (raw({"alg": "none"}, claims()), "TOKEN_ALGORITHM"),
        (raw({"alg": "None", "kid": "rs256"}, claims()), "TOKEN_ALGORITHM"),
        (raw({"kid": "rs256"}, claims()), "TOKEN_ALGORITHM"),
        (raw({"alg": ["RS256"], "kid": "rs256"}, claims()), "TOKEN_ALGORITHM"),
        (hs256_with_the_public_key(PUBLIC_PEM), "TOKEN_ALGORITHM"),
        (by_pyjwt("RS256", OTHER_RSA), "TOKEN_SIGNATURE"),
        (by_pyjwt("RS256", kid="es256"), "TOKEN_ALGORITHM"),
        (by_pyjwt(kid="nobody"), "TOKEN_KEY_UNKNOWN"),
        (by_pyjwt(kid=None), "TOKEN_KEY_UNKNOWN"),  # there are three keys
        (by_pyjwt()[:-8] + "AAAAAAAA", "TOKEN_SIGNATURE"),
        ("a.b.c", "TOKEN_MALFORMED"),
        ("..", "TOKEN_MALFORMED"),
        (raw([], claims()), "TOKEN_MALFORMED"),
        (raw({"alg": "RS256", "kid": 7}, claims()), "TOKEN_MALFORMED"),
        (raw({"alg": "RS256", "kid": "rs256"}, b"no json", sign=True), "TOKEN_MALFORMED"),
        (raw({"alg": "RS256", "kid": "rs256"}, [], sign=True), "TOKEN_MALFORMED"),
        (
            raw({"alg": "RS256", "kid": "rs256", "crit": ["x"]}, claims(), sign=True),
            "TOKEN_MALFORMED",
        ),
        ("é.ü.ß", "TOKEN_MALFORMED"),
        ("a" * MAX_TOKEN_BYTES + ".b.c", "TOKEN_MALFORMED"),
    ],
)
async def test_a_token_that_is_no_proof(tokens: Tokens, token: str, reason: str) -> None:
    assert (await refused(tokens, token))[0] == reason


async def test_a_key_that_the_token_brings_is_not_looked_at(tokens: Tokens) -> None:
    jwk = jwk_of("RS256", OTHER_RSA)
    headers = {"jwk": jwk, "jku": "https://evil.example/jwks", "kid": "rs256"}
    token = jwt.encode(claims(), OTHER_RSA, "RS256", headers)
    assert (await refused(tokens, token))[0] == "TOKEN_SIGNATURE"


async def test_without_an_id_the_only_key_counts(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [jwk_of("ES256", PRIVATE["ES256"])]}))
    tokens = Tokens(KeySet(str(path)).find, RULES)
    assert (await tokens.caller(by_pyjwt("ES256", kid=None))).tenant == "shop"


async def test_a_subject_that_is_not_plain_is_told_by_a_hash(tokens: Tokens) -> None:
    first = (await tokens.caller(by_pyjwt(sub="two\r\nlines"))).key_id
    assert first.isascii()
    assert "\r" not in first
    assert first != (await tokens.caller(by_pyjwt(sub="two\r\nother lines"))).key_id


async def test_a_token_is_checked_once_a_minute_and_again_after_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(JWKS))
    looked: list[str | None] = []
    keys = KeySet(str(path))

    async def find(key_id: str | None) -> jwt.PyJWK | None:
        looked.append(key_id)
        return await keys.find(key_id)

    now_s, later = time.time(), [0.0]
    tokens = Tokens(find, RULES, lambda: later[0])
    long, short = by_pyjwt(), by_pyjwt(sub="bob", exp=int(now_s) + 5)
    for _ in range(3):
        await tokens.caller(long)
        await tokens.caller(short)
    assert looked == ["rs256", "rs256"]
    # What is remembered of a token ends with the token, or after a minute, be the clock set back.
    for later_s, clock_s, checks in ((36, 36, 1), (61, 61, 2), (122, -3600, 2)):
        looked.clear()
        later[0] = later_s
        monkeypatch.setattr(time, "time", lambda clock_s=clock_s: now_s + clock_s)
        await tokens.caller(long)
        await tokens.caller(short)
        assert len(looked) == checks
