"""JWTs (RFC 7519): from a token to the caller that it proves to be."""

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAlgorithmError,
    InvalidAudienceError,
    InvalidIssuerError,
    InvalidSignatureError,
    MissingRequiredClaimError,
    PyJWTError,
)

from mesh_gateway.caller import Caller
from mesh_gateway.jwks import Find
from meshkit.errors import InvalidArgument, Unauthenticated
from meshkit.key_records import check_name
from meshkit.scopes import SCOPES

MAX_TOKEN_BYTES: Final = 16 * 1024
REMEMBERED_S: Final = 60.0
"""A token that was checked is believed this long: one that is signed with a key that was taken out
of the set is refused within it."""
_MOST_REMEMBERED: Final = 10_000
_PLAIN_SUBJECT: Final = re.compile(r"[A-Za-z0-9._@+-]{1,120}")
# What is wrong with a token, by the library's error, with the reason.
_FAULTS: Final[Sequence[tuple[type[PyJWTError], str, str]]] = (
    (ExpiredSignatureError, "TOKEN_EXPIRED", "has expired; get a new one"),
    (ImmatureSignatureError, "TOKEN_NOT_YET_VALID", "is not valid yet; wait, or check the clocks"),
    (InvalidAudienceError, "TOKEN_AUDIENCE", "is not meant for this mesh; ask for its audience"),
    (InvalidIssuerError, "TOKEN_ISSUER", "is from an issuer that this mesh does not accept"),
    (InvalidSignatureError, "TOKEN_SIGNATURE", "has a signature that does not fit its content"),
    (InvalidAlgorithmError, "TOKEN_ALGORITHM", "is signed with an algorithm that is not accepted"),
)


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Which tokens count.

    Attributes:
        issuer: who must have made them.
        audience: whom they must be meant for.
        algorithms: how they may be signed; none with a shared secret.
        leeway_s: seconds that clocks may differ.
        tenant_claim: the claim that names the tenant.
        scope_claim: the claim that holds the scopes: words in a string, or a list.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    leeway_s: float
    tenant_claim: str
    scope_claim: str


@dataclass(frozen=True, slots=True)
class _Checked:
    """A token that was checked, until when it is believed, and when it ends by the clock."""

    caller: Caller
    until_s: float
    ends_s: float


class Tokens:
    """Checks JWTs.

    Args:
        find: finds the key that a token is signed with.
        rules: which tokens count.
        clock: seconds that only grow, unlike those that tokens end by.
    """

    def __init__(
        self, find: Find, rules: TokenRules, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._find = find
        self._rules = rules
        self._clock = clock
        self._remembered: OrderedDict[bytes, _Checked] = OrderedDict()

    async def caller(self, token: str) -> Caller:
        """The caller that a token proves.

        Raises:
            Unauthenticated: the token is not valid; the reason says why.
            Unavailable: there are no keys to check it with.
        """
        digest = hashlib.sha256(token.encode()).digest()
        remembered = self._remembered.get(digest)
        if remembered and self._clock() < remembered.until_s and time.time() < remembered.ends_s:
            return remembered.caller
        claims = await self._claims(token)
        caller = self._to_caller(claims)
        self._remember(digest, caller, float(claims["exp"]))
        return caller

    def _remember(self, digest: bytes, caller: Caller, expires_s: float) -> None:
        self._remembered[digest] = _Checked(
            caller, self._clock() + REMEMBERED_S, expires_s + self._rules.leeway_s
        )
        self._remembered.move_to_end(digest)
        if len(self._remembered) > _MOST_REMEMBERED:
            self._remembered.popitem(last=False)

    async def _claims(self, token: str) -> Mapping[str, Any]:
        rules = self._rules
        if len(token) > MAX_TOKEN_BYTES:
            raise _refused("TOKEN_MALFORMED", f"has over {MAX_TOKEN_BYTES} bytes")
        try:
            header = jwt.get_unverified_header(token)
            # Before any key is looked for: whoever chooses the algorithm would choose the check.
            if header.get("alg") not in rules.algorithms:
                raise InvalidAlgorithmError
            key = await self._find(header.get("kid"))
            if key is None:
                raise _refused(
                    "TOKEN_KEY_UNKNOWN", "is signed with a key that is not in the issuer's set"
                )
            return jwt.decode(
                token,
                key,
                algorithms=rules.algorithms,
                audience=rules.audience,
                issuer=rules.issuer,
                leeway=rules.leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except MissingRequiredClaimError as error:
            raise _refused("TOKEN_CLAIM_MISSING", f"has no claim {error.claim}") from None
        except (PyJWTError, ValueError, OverflowError, RecursionError) as error:
            raise _fault(error) from None

    def _to_caller(self, claims: Mapping[str, Any]) -> Caller:
        rules = self._rules
        tenant = claims.get(rules.tenant_claim)
        if not isinstance(tenant, str):
            raise _refused(
                "TOKEN_CLAIM_MISSING", f"has no claim {rules.tenant_claim} that names its tenant"
            )
        try:
            check_name("tenant", tenant)
        except InvalidArgument as error:
            raise _refused("TOKEN_CLAIM_MISSING", f"has a bad claim: {error.message}") from None
        return Caller(
            key_id=_subject(str(claims["sub"])),
            tenant=tenant,
            scopes=_scopes(claims.get(rules.scope_claim)),
        )


def _subject(subject: str) -> str:
    """How logs and limits call the subject; a hash stands for one that is not plain."""
    if _PLAIN_SUBJECT.fullmatch(subject):
        return f"jwt:{subject}"
    return f"jwt:{hashlib.sha256(subject.encode()).hexdigest()[:16]}"


def _scopes(claim: object) -> frozenset[str]:
    """Those of a claim that mean something here; an issuer may know others."""
    words = claim.split() if isinstance(claim, str) else claim
    return SCOPES.intersection(words) if isinstance(words, list) else frozenset()


def _fault(error: Exception) -> Unauthenticated:
    for kind, reason, fault in _FAULTS:
        if isinstance(error, kind):
            return _refused(reason, fault)
    return _refused("TOKEN_MALFORMED", "can't be read as a signed JWT; send it whole")


def _refused(reason: str, fault: str) -> Unauthenticated:
    return Unauthenticated(f"the token {fault}", reason=reason)
