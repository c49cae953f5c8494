"""The options of every gRPC channel and server of the mesh, in one place."""

from typing import Final

# A stopped peer is noticed within about three seconds: gRPC alone would take 60.
_PING_EVERY_MS: Final = 2_000
_PING_TIMEOUT_MS: Final = 1_000

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
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _PING_EVERY_MS // 2),
        ("grpc.keepalive_time_ms", _PING_EVERY_MS),
        ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_MS),
        # With port sharing a taken port is bound silently, and a channel pins to one of the
        # processes.
        ("grpc.so_reuseport", 0),
    ]
