"""Who asks: from what a caller presents to the caller it proves to be."""

from dataclasses import dataclass

from mesh_gateway.key_cache import KeyCache
from meshkit.errors import Unauthenticated
from meshkit.keys import ApiKey, HashingKey


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller that has proved who it is.

    Attributes:
        key_id: the public id of its key.
        tenant: whom its calls belong to.
        scopes: the services it may call.
    """

    key_id: str
    tenant: str
    scopes: frozenset[str]


class Authenticator:
    """Checks API keys.

    Args:
        keys: where the records of keys are looked up.
        hashing_key: the one that keys were made with.
    """

    def __init__(self, keys: KeyCache, hashing_key: HashingKey) -> None:
        self._keys = keys
        self._hashing_key = hashing_key

    async def authenticate(self, presented: str | None) -> Caller:
        """The caller that `presented` proves.

        Args:
            presented: the API key; None where the caller sent none.

        Raises:
            Unauthenticated: there is no key, or it is malformed, unknown or revoked.
            Unavailable: the key store can't be reached and the key is not remembered.
        """
        if presented is None:
            raise Unauthenticated(
                "there is no API key; send one as 'Authorization: Bearer <key>' or "
                "'x-api-key: <key>' (`mesh keys create` makes one)",
                reason="KEY_MISSING",
            )
        key = ApiKey.parse(presented)
        record = await self._keys.get(key.id)
        if record is None or not self._hashing_key.matches(key, record):
            raise Unauthenticated(
                "the API key is not known; check that it belongs to this mesh "
                "(`mesh keys list` shows the ids of all keys)",
                reason="KEY_UNKNOWN",
            )
        if record.revoked_at is not None:
            raise Unauthenticated(
                f"the API key {record.id} was revoked; ask for a new one", reason="KEY_REVOKED"
            )
        return Caller(record.id, record.tenant, record.scopes)


def presented_key(authorization: str | None, api_key: str | None) -> str | None:
    """The key in the headers `authorization` and `x-api-key`; None where neither has one.

    `x-api-key` wins, since nothing else is ever sent in it.

    Raises:
        Unauthenticated: `authorization` has another scheme than Bearer.
    """
    if api_key is not None:
        return api_key.strip()
    if authorization is None:
        return None
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated(
            "the header authorization has another scheme than Bearer; send 'Bearer <key>'",
            reason="KEY_MISSING",
        )
    return credentials.strip()
