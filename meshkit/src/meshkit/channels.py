"""The options of every gRPC channel and server of the mesh, in one place."""

from typing import Final

# A stopped peer is noticed within about three seconds: gRPC alone would take 60.
_PING_EVERY_MS: Final = 2_000
_PING_TIMEOUT_MS: Final = 1_000
# A channel also pings to size its windows: ten times a second when it is at its busiest. A server
# hangs up on who pings more often than that.
_PINGS_APART_MS: Final = 80

_CONNECTION_AGE_MS: Final = 30 * 60 * 1000
_CONNECTION_GRACE_MS: Final = 10 * 60 * 1000

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
        # With port sharing a taken port is bound silently, and a channel pins to one of the
        # processes.
        ("grpc.so_reuseport", 0),
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
