"""Passes calls on to the services behind the gateway, as bytes."""

from collections.abc import Callable
from contextlib import aclosing

from mesh_gateway.grpc_door.calls import Work
from mesh_gateway.grpc_door.provenance import Remember
from mesh_gateway.timeouts import in_time
from meshkit.client import Client
from meshkit.interceptors import Call

CheckSize = Callable[[str, bytes], None]


def unary(client: Client, check_size: CheckSize, remember: Remember) -> Work[bytes]:
    """Passes on a call that is answered with one message.

    Args:
        client: of the service.
        check_size: refuses an answer that is too large.
        remember: is told of the answer.
    """

    async def relay(call: Call, payload: bytes) -> bytes:
        response = await client.call(call.method, payload)
        check_size("response", response)
        remember(call, response)
        return response

    return relay


def stream(
    client: Client, check_size: CheckSize, remember: Remember, idle_timeout_s: float
) -> Work[None]:
    """Passes on a call whose answer is a stream.

    Each message waits until the caller has taken the one before, and the service with it.

    Args:
        client: of the service.
        check_size: refuses a message that is too large.
        remember: is told of each message.
        idle_timeout_s: seconds that may pass without a message from the service, and without the
            caller taking one.
    """

    async def relay(call: Call, payload: bytes) -> None:
        assert call.write is not None  # noqa: S101  # whatever calls it knows that it streams
        async with aclosing(client.stream(call.method, payload)) as messages:
            while True:
                message = await in_time(
                    anext(messages, None), idle_timeout_s, "the service has sent nothing"
                )
                if message is None:
                    return
                check_size("message", message)
                remember(call, message)
                await in_time(call.write(message), idle_timeout_s, "the caller has read nothing")

    return relay
