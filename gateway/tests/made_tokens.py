"""JWTs as an issuer makes them, by two libraries and by hand, good ones and bad ones."""

import base64
import json
import time
from dataclasses import dataclass
from typing import Any

import joserfc.jwk
import joserfc.jwt
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER, AUDIENCE = "https://issuer.example", "mesh"
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


PUBLIC_PEM = (
    PRIVATE["RS256"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
)


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


def hs256_with_the_public_key(secret: bytes) -> str:
    """The known trick: the public key taken for a shared secret."""
    header = {"alg": "HS256", "kid": "rs256"}
    signed = f"{segment(header)}.{segment(claims())}"
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    return f"{signed}.{segment(hmac.sign(signed.encode(), secret))}"
