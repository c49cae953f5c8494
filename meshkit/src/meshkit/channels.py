"""How every gRPC channel and server of the mesh is opened, and its options, in one place."""

from typing import Final

import grpc

from meshkit.errors import StartError

# A stopped peer is noticed within about three seconds: gRPC alone would take 60.
_PING_EVERY_MS: Final = 2_000
_PING_TIMEOUT_MS: Final = 1_000
# A channel also pings to size its windows: ten times a second when it is at its busiest. A server
# hangs up on who pings more often than that.
_PINGS_APART_MS: Final = 80

_CONNECTION_AGE_MS: Final = 30 * 60 * 1000
_CONNECTION_GRACE_MS: Final = 10 * 60 * 1000

# A caller that stalls in its TLS handshake, or before its first frame, goes after this long.
_HANDSHAKE_MS: Final = 10_000

_HEALTH_METADATA_BYTES: Final = 4 * 1024
_HEALTH_STREAMS: Final = 8

Options = list[tuple[str, int]]


def internal_message_bytes(max_message_bytes: int) -> int:
    """The limit between processes: JSON numbers grow as tensors, and calls share messages."""
    return 2 * max_message_bytes + 64 * 1024


def channel_options(max_message_bytes: int) -> Options:
    """Options of a channel to one replica."""
    limit = internal_message_bytes(max_message_bytes)
    return [
        ("grpc.max_receive_message_length", limit),
        ("grpc.max_send_message_length", limit),
        ("grpc.keepalive_time_ms", _PING_EVERY_MS),
        ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_MS),
        ("grpc.http2.ping_timeout_ms", _PING_TIMEOUT_MS),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # Each channel is one replica's, and retries are the client's business.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
    ]


def open_channel(
    address: str,
    max_message_bytes: int,
    credentials: grpc.ChannelCredentials | None,
    server_name: str,
) -> grpc.aio.Channel:
    """A channel to one replica.

    Args:
        address: of the replica.
        max_message_bytes: the mesh's limit for public messages.
        credentials: for TLS; None for none.
        server_name: what the replica's certificate must be for, which its address may not be.
    """
    options = channel_options(max_message_bytes)
    if credentials is None:
        return grpc.aio.insecure_channel(address, options)
    host = server_name.rstrip(".")  # a dot at the end of a name is the resolver's business
    named = ("grpc.default_authority", f"[{host}]" if ":" in host else host)
    return grpc.aio.secure_channel(address, credentials, [*options, named])


def listen(
    server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None, setting: str
) -> None:
    """Has a server listen.

    Args:
        server: not started yet.
        address: `host:port`.
        credentials: for TLS; None for none.
        setting: who names the port, for the message.

    Raises:
        StartError: another process listens there.
    """
    try:
        if credentials is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise StartError(
            f"can't listen on {address}: another process has the port, or the address is not this "
            f"machine's; free it or set another {setting}"
        ) from error


def server_options(max_message_bytes: int) -> Options:
    """Options of a service's server."""
    limit = internal_message_bytes(max_message_bytes)
    return [
        ("grpc.max_receive_message_length", limit),
        ("grpc.max_send_message_length", limit),
        ("grpc.http2.min_ping_interval_without_data_ms", _PINGS_APART_MS),
        # Such pings also come when no call is under way: gRPC alone takes them for an attack.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", _PING_EVERY_MS),
        ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_MS),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        # With port sharing a taken port is bound silently, and a channel pins to one of the
        # processes.
        ("grpc.so_reuseport", 0),
    ]


def health_server_options() -> Options:
    """Options of a server of the health service alone, whose callers are few and say little."""
    return [
        *server_options(0),
        ("grpc.max_metadata_size", _HEALTH_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", _HEALTH_METADATA_BYTES),
        ("grpc.max_concurrent_streams", _HEALTH_STREAMS),
    ]


def public_server_options(max_message_bytes: int, max_metadata_bytes: int) -> Options:
    """Options of a server that strangers reach.

    Messages up to the internal limit are read, so that one over the public limit can be refused in
    words; a caller connects again after a while, so that callers spread over servers that were
    added.
    """
    return [
        *server_options(max_message_bytes),
        ("grpc.max_metadata_size", max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", max_metadata_bytes),
        ("grpc.max_connection_age_ms", _CONNECTION_AGE_MS),
        ("grpc.max_connection_age_grace_ms", _CONNECTION_GRACE_MS),
    ]
