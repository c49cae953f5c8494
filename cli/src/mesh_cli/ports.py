"""Says before anything starts which port is taken, by whom, and which setting changes it."""

import socket
from collections.abc import Mapping

import psutil

from mesh_cli.failures import Failure


def check_free(ports: Mapping[str, int], host: str = "127.0.0.1") -> None:
    """Checks that every port can be listened on.

    Args:
        ports: the ports, by the setting that changes each.
        host: the address that they will listen on.

    Raises:
        Failure: one is taken or not allowed; the text names it, its holder and the setting.
    """
    for setting, port in ports.items():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As servers do: a port whose last connection is still closing is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                probe.listen(1)
            except PermissionError:
                raise Failure(
                    f"port {port} needs more rights than yours: set {setting} to one above 1023"
                ) from None
            except OSError:
                raise Failure(
                    f"port {port} is taken{_holder(port)}: stop that, or set {setting} to another "
                    f"(for example {setting}={port + 1} make up)"
                ) from None


def _holder(port: int) -> str:
    """Who listens on a port, as far as this user may see."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:  # macOS shows them to root alone
        return ""
    for connection in connections:
        address = connection.laddr[1:2]  # empty where it has no port
        if connection.status == psutil.CONN_LISTEN and address == (port,) and connection.pid:
            try:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
            except psutil.NoSuchProcess:
                return ""
    return ""
