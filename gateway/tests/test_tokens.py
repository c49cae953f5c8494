"""JWTs made by two libraries: which ones count, and what the others are told."""

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joserfc.jwk
import joserfc.jwt
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mesh_gateway.jwks import KeySet
from mesh_gateway.tokens import MAX_TOKEN_BYTES, TokenRules, Tokens
from meshkit.errors import Unauthenticated

ISSUER, AUDIENCE = "https://issuer.example", "mesh"
RULES = TokenRules(ISSUER, AUDIENCE, ("RS256", "ES256", "EdDSA"), 30.0, "tenant", "scope")
PRIVATE: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
OTHER_RSA = rsa.generate_private_key(65537, 2048)


def jwk_of(algorithm: str, private: Any) -> dict[str, Any]:
    """The public key as an issuer publishes it."""
    public = private.public_key()
    found: dict[str, Any]
    match algorithm:
        case "RS256":
            found = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
        case "ES256":
            found = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
        case _:
            found = jwt.algorithms.OKPAlgorithm.to_jwk(public, as_dict=True)
    return {**found, "kid": algorithm.lower(), "use": "sig", "alg": algorithm}


JWKS = {"keys": [jwk_of(algorithm, private) for algorithm, private in PRIVATE.items()]}


@dataclass(frozen=True)
class FromNow:
    """A time that is reckoned when the token is made."""

    seconds: int


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    standard = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "exp": now + 300,
        "iat": now,
        "tenant": "shop",
        "scope": "classifier:predict openid",
    }
    return {
        name: now + value.seconds if isinstance(value, FromNow) else value
        for name, value in (standard | changed).items()
        if value is not None
    }


def by_pyjwt(
    algorithm: str = "RS256", key: Any = None, kid: str | None = "", **changed: Any
) -> str:
    headers = {} if kid is None else {"kid": kid or algorithm.lower()}
    return jwt.encode(claims(**changed), key or PRIVATE[algorithm], algorithm, headers)


def by_joserfc(algorithm: str, **changed: Any) -> str:
    kinds: dict[str, Any] = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
    key = joserfc.jwk.import_key(PRIVATE[algorithm], kinds[algorithm])
    header = {"alg": algorithm, "kid": algorithm.lower()}
    return joserfc.jwt.encode(header, claims(**changed), key, algorithms=[algorithm])


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


def segment(content: Any) -> str:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def raw(header: Any, payload: Any, signature: bytes = b"", *, sign: bool = False) -> str:
    """A token by hand."""
    signed = f"{segment(header)}.{segment(payload)}"
    if sign:
        rs256 = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256)
        signature = rs256.sign(signed.encode(), PRIVATE["RS256"])
    return f"{signed}.{segment(signature)}"


PUBLIC_PEM = (
    PRIVATE["RS256"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
)


def hs256_with_the_public_key(secret: bytes) -> str:
    """The known trick: the public key taken for a shared secret."""
    header = {"alg": "HS256", "kid": "rs256"}
    signed = f"{segment(header)}.{segment(claims())}"
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    return f"{signed}.{segment(hmac.sign(signed.encode(), secret))}"


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

    tokens = Tokens(find, RULES)
    now_s = time.time()
    long, short = by_pyjwt(), by_pyjwt(sub="bob", exp=int(now_s) + 5)
    for _ in range(3):
        await tokens.caller(long)
        await tokens.caller(short)
    assert looked == ["rs256", "rs256"]
    # What is remembered of a token ends with the token, or after a minute.
    for later_s, checks in ((36, 1), (61, 2)):
        looked.clear()
        monkeypatch.setattr(time, "time", lambda later_s=later_s: now_s + later_s)
        await tokens.caller(long)
        await tokens.caller(short)
        assert len(looked) == checks
