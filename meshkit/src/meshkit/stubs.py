"""Generated stubs over whatever makes calls of bytes."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Protocol


class Calls(Protocol):
    """What makes calls."""

    async def call(self, method: str, payload: bytes) -> bytes:
        """Makes one unary call of a method, `package.Service/Method`."""

    def stream(self, method: str, payload: bytes) -> AsyncGenerator[bytes, None]:
        """Makes one call whose answer is a stream."""


class StubChannel:
    """As much of a gRPC channel as a generated stub asks for."""

    def __init__(self, client: Calls) -> None:
        self._client = client

    def unary_unary(  # noqa: D102  # gRPC's own
        self,
        method: str,
        request_serializer: Callable[[Any], bytes],
        response_deserializer: Callable[[bytes], Any],
        **_: object,
    ) -> Callable[[Any], Any]:
        name = method.removeprefix("/")

        async def call(request: Any) -> Any:
            response = await self._client.call(name, request_serializer(request))
            return response_deserializer(response)

        return call

    def unary_stream(  # noqa: D102  # gRPC's own
        self,
        method: str,
        request_serializer: Callable[[Any], bytes],
        response_deserializer: Callable[[bytes], Any],
        **_: object,
    ) -> Callable[[Any], AsyncGenerator[Any, None]]:
        name = method.removeprefix("/")

        async def stream(request: Any) -> AsyncGenerator[Any, None]:
            async with aclosing(self._client.stream(name, request_serializer(request))) as messages:
                async for message in messages:
                    yield response_deserializer(message)

        return stream
