"""Who asks: from what a caller presents to the caller it proves to be."""

from mesh_gateway.api_keys import ApiKeys
from mesh_gateway.caller import Caller
from mesh_gateway.tokens import Tokens
from meshkit.errors import Unauthenticated

_MARK = "mesh_"


class Authenticator:
    """Checks API keys, and tokens where there is somebody whose tokens count.

    Args:
        keys: checks API keys.
        tokens: checks JWTs; None where nobody's are accepted.
    """

    def __init__(self, keys: ApiKeys, tokens: Tokens | None) -> None:
        self._keys = keys
        self._tokens = tokens

    def known(self, presented: str | None) -> Caller | None:
        """The caller that `presented` proves, where that needs no asking; else None.

        Raises:
            Unauthenticated: it is a key that was valid and is no more.
        """
        if presented is None or not presented.startswith(_MARK):
            return None
        return self._keys.proved(presented)

    async def authenticate(self, presented: str | None) -> Caller:
        """The caller that `presented` proves.

        Args:
            presented: an API key or a JWT; None where the caller sent nothing.

        Raises:
            Unauthenticated: there is none, or it is not valid.
            Unavailable: nobody can say, since the key store can't be reached and the key is not
                remembered, or there are no keys to check tokens with.
        """
        if presented is None:
            raise Unauthenticated(
                "there is no API key; send one as 'Authorization: Bearer <key>' or "
                "'x-api-key: <key>' (`mesh keys create` makes one)",
                reason="KEY_MISSING",
            )
        # A JWT has three parts with dots between, which no API key has.
        if self._tokens and presented.count(".") == 2 and not presented.startswith(_MARK):
            return await self._tokens.caller(presented)
        return await self._keys.caller(presented)


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
