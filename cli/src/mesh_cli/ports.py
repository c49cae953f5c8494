"""Says before anything starts which ports are taken, by whom, and which settings change them."""

import socket
from collections.abc import Mapping

import psutil

from mesh_cli.failures import Failure
from mesh_cli.processes import MARKER


def check_free(ports: Mapping[str, int], host: str = "127.0.0.1") -> None:
    """Checks that every port can be listened on.

    Args:
        ports: the ports, by the setting that changes each.
        host: the address that they will listen on.

    Raises:
        Failure: some are taken or not allowed; the text names each, its holder and its setting.
    """
    faults = {name: fault for name, port in ports.items() if (fault := _fault(host, port))}
    if not faults:
        return
    said = [f"port {ports[name]} {fault}: set {name} to another" for name, fault in faults.items()]
    first = next(iter(faults))
    raise Failure(
        f"{'; '.join(said)} (for example {first}={ports[first] + 1} make up), or end what holds it"
    )


def _fault(host: str, port: int) -> str | None:
    """Why a port can't be listened on; None when it can."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connection is still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except PermissionError:
            return "needs more rights than yours"
        except OSError:
            return f"is taken{_holder(port)}"
    return None


def _holder(port: int) -> str:
    """Who listens on a port, as far as this user may see."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:  # macOS shows them to root alone
        return ""
    for connection in connections:
        address = connection.laddr[1:2]  # empty where it has no port
        if connection.status == psutil.CONN_LISTEN and address == (port,) and connection.pid:
            return _describe(connection.pid)
    return ""


def _describe(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        mesh = process.environ().get(MARKER)
        return f" by the mesh of {mesh}" if mesh else f" by {process.name()} (process {pid})"
    except psutil.Error:  # it has just ended, or is another user's
        return ""
