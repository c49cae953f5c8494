"""Hostile requests: what they are made from, and what no answer to them may have."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from made_tokens import (
    AUDIENCE,
    ISSUER,
    JWKS,
    OTHER_RSA,
    PUBLIC_PEM,
    FromNow,
    by_joserfc,
    by_pyjwt,
    claims,
    hs256_with_the_public_key,
    raw,
)
from meshkit.keys import ApiKey
from processes import Mesh

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""The limit of the mesh under attack: smaller than the default, so that bodies at it are cheap."""
LONG_ID: Final = "i" * 10 * 1024
BOMB_BYTES: Final = 8 * 1024 * 1024
"""What a compressed bomb grows to: far more than any limit here."""
# Of the implementation, and of tokens in base64.
_LEAKS: Final = ("Traceback", 'File "', ".py", "site-packages", "eyJ")


@dataclass(frozen=True)
class Scene:
    """The mesh under attack, as its attackers know it.

    Attributes:
        key: a key that may do everything.
        reader: one that may only read.
        labels: by door, how long the label of one text is if the response is as large as it may be.
    """

    key: ApiKey
    reader: ApiKey
    labels: Mapping[str, int]

    def label(self, door: str, over: int) -> str:
        """The text whose answer at a door is that much larger than may be."""
        return label_of(self.labels[door] + over)

    def check_leaks(self, told: str) -> None:
        """Checks that an answer says nothing of credentials, nor of the implementation."""
        secrets = [key.text.rpartition("_")[2] for key in (self.key, self.reader)]
        for each in (*_LEAKS, *secrets):
            assert each not in told, f"{each} is in {told[:2000]}"


def label_of(letters: int) -> str:
    """The text that the stand-in service answers with a label of that length."""
    return f"a label of {letters} letters"


def settings(folder: Path) -> dict[str, object]:
    """Settings of a gateway under attack: it takes tokens, and small messages."""
    keys = folder / "jwks.json"
    keys.write_text(json.dumps(JWKS))
    return {
        "MESH_MAX_MESSAGE_BYTES": MAX_MESSAGE_BYTES,
        "MESH_GATEWAY_KEY_RATE": "unlimited",
        "MESH_GATEWAY_JWT_KEYS": keys,
        "MESH_GATEWAY_JWT_ISSUER": ISSUER,
        "MESH_GATEWAY_JWT_AUDIENCE": AUDIENCE,
    }


def scene_of(mesh: Mesh, labels: Mapping[str, int]) -> Scene:
    """The scene of a mesh that was started with such settings."""
    reader = mesh.make_key(scopes=frozenset({"classifier:read"}))
    return Scene(mesh.key, reader, labels)


Credential: TypeAlias = Callable[[], str]


@dataclass(frozen=True)
class BadToken:
    """A token that proves nobody.

    Attributes:
        name: what is wrong with it.
        make: makes one that is wrong in no other way.
        reason: what its caller is told, for programs.
        words: the same, for people.
    """

    name: str
    make: Credential
    reason: str
    words: str


def _tokens_by(library: str, make: Callable[..., str]) -> tuple[BadToken, ...]:
    def bad(name: str, reason: str, words: str, **changed: object) -> BadToken:
        return BadToken(f"{name}, by {library}", lambda: make("RS256", **changed), reason, words)

    return (
        bad("expired", "TOKEN_EXPIRED", "has expired; get a new one", exp=FromNow(-300)),
        bad("for another audience", "TOKEN_AUDIENCE", "not meant for this mesh", aud="another"),
        bad("from another issuer", "TOKEN_ISSUER", "from an issuer that", iss="https://evil.test"),
        bad("not valid yet", "TOKEN_NOT_YET_VALID", "is not valid yet; wait", nbf=FromNow(300)),
        bad("of no tenant", "TOKEN_CLAIM_MISSING", "has no claim tenant", tenant=None),
    )


_MALFORMED: Final = ("TOKEN_MALFORMED", "can't be read as a signed JWT; send it whole")
_SIGNATURE: Final = ("TOKEN_SIGNATURE", "has a signature that does not fit its content")
_ALGORITHM: Final = ("TOKEN_ALGORITHM", "is signed with an algorithm that is not accepted")

BAD_TOKENS: Final = (
    *_tokens_by("PyJWT", by_pyjwt),
    *_tokens_by("joserfc", by_joserfc),
    BadToken("that is none", lambda: "a.b.c", *_MALFORMED),
    BadToken(
        "cut short",
        lambda: by_pyjwt().rpartition(".")[0],
        *("KEY_MALFORMED", "copy it whole"),
    ),
    BadToken("of algorithm none", lambda: raw({"alg": "none"}, claims()), *_ALGORITHM),
    BadToken(
        "signed with the public key", lambda: hs256_with_the_public_key(PUBLIC_PEM), *_ALGORITHM
    ),
    BadToken("without its signature", lambda: by_pyjwt().rpartition(".")[0] + ".", *_SIGNATURE),
    BadToken("signed with another key", lambda: by_pyjwt(key=OTHER_RSA), *_SIGNATURE),
    BadToken(
        "of a key that nobody knows",
        lambda: by_pyjwt(kid="nobody"),
        "TOKEN_KEY_UNKNOWN",
        "is signed with a key that is not in the issuer's set",
    ),
)


def token_that_may_only_read() -> str:
    """A good token, whose scope does not cover predictions."""
    return by_pyjwt(scope="classifier:read")
