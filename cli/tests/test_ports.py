import os
import socket
import subprocess
import sys

import pytest

from mesh_cli.failures import Failure
from mesh_cli.ports import check_free
from mesh_cli.processes import MARKER


def test_free_ports_pass() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    check_free({"MESH_GATEWAY_HTTP_PORT": port})


def test_taken_ports_are_named_with_their_holders_and_settings() -> None:
    with socket.socket() as first, socket.socket() as second:
        for holder in (first, second):
            holder.bind(("127.0.0.1", 0))
            holder.listen()
        one, two = first.getsockname()[1], second.getsockname()[1]
        with pytest.raises(Failure) as refused:
            check_free({"MESH_GATEWAY_HTTP_PORT": one, "MESH_REDIS_PORT": two})
    message = str(refused.value)
    assert message.startswith(f"port {one} is taken by ")
    assert (
        f"(process {os.getpid()}): set MESH_GATEWAY_HTTP_PORT to another; port {two} is" in message
    )
    assert "set MESH_REDIS_PORT to another" in message
    assert f"for example MESH_GATEWAY_HTTP_PORT={one + 1} make up" in message
    assert "\n" not in message


def test_another_mesh_is_named_by_its_folder() -> None:
    serve = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); "
    say = "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", serve + say],
        env={**os.environ, MARKER: "/srv/other"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        with pytest.raises(Failure, match=f"port {port} is taken by the mesh of /srv/other: set X"):
            check_free({"X": port})
        other.communicate("")
