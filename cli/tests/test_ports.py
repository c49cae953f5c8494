import os
import socket

import pytest

from mesh_cli.failures import Failure
from mesh_cli.ports import check_free


def test_free_ports_pass() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    check_free({"MESH_GATEWAY_HTTP_PORT": port})


def test_a_taken_port_names_its_holder_and_the_setting_that_changes_it() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(Failure) as refused:
            check_free({"MESH_GATEWAY_HTTP_PORT": port})
    message = str(refused.value)
    assert f"port {port} is taken by" in message
    assert f"(process {os.getpid()})" in message
    assert f"MESH_GATEWAY_HTTP_PORT={port + 1} make up" in message
    assert "\n" not in message
