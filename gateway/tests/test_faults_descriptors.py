"""A gateway that may open no more files, which is what connections are."""

import resource
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import grpc
import httpx
import pytest

from mesh.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from processes import PATIENCE_S, until
from watched_mesh import WatchedGateway, WatchedMesh

pytestmark = pytest.mark.full

CLASSIFY: Final = "/v1/classify"
BODY: Final = {"texts": ["a"]}
ROOM: Final = 64
CALLERS: Final = 3 * ROOM
REFUSED: Final = "can't accept a connection"
PROBE: Final = b"GET /health HTTP/1.1\r\nhost: mesh\r\n\r\n"


class PoorGateway(WatchedGateway):
    """A gateway whose descriptors can be counted and limited."""

    def limit(self, descriptors: int) -> None:
        """Lets it open no more than so many."""
        _, most = resource.prlimit(self._pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self._pid, resource.RLIMIT_NOFILE, (descriptors, most))


class PoorMesh(WatchedMesh):
    gateway: PoorGateway
    gateway_type = PoorGateway


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[PoorMesh]:
    with PoorMesh(tmp_path) as started:
        yield started


def test_connections_over_the_limit_wait_until_others_go(mesh: PoorMesh) -> None:
    gateway = mesh.gateway
    with mesh.client() as known, ExitStack() as stack:
        assert known.post(CLASSIFY, json=BODY).status_code == 200
        gateway.limit(mesh.held_at_rest().descriptors + ROOM)
        callers = [
            stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), PATIENCE_S))
            for _ in range(CALLERS)
        ]
        for caller in callers:
            caller.sendall(PROBE)
        until(lambda: gateway.log.count(REFUSED) >= 3, "the limit, and two more tries")
        tries, began_s = gateway.log.count(REFUSED), time.monotonic()
        # Whoever is connected is served as ever, and the gateway does not spin.
        until(lambda: served(known) and gateway.log.count(REFUSED) >= tries + 3, "more tries")
        assert gateway.log.count(REFUSED) - tries <= time.monotonic() - began_s + 1
        connected = [caller for caller in callers if answered(caller)]
        assert 0 < len(connected) <= ROOM
        for caller in connected:
            caller.close()
        waiting = [caller for caller in callers if caller not in connected]
        # Those that waited come in when others go.
        until(lambda: any(answered(caller) for caller in waiting), "room for those that wait")
        for caller in waiting:
            caller.close()
    with mesh.client() as stranger, grpc.insecure_channel(gateway.address) as channel:
        assert stranger.post(CLASSIFY, json=BODY).status_code == 200
        request = classifier_pb2.ClassifyRequest(texts=["a"])
        metadata = (("x-api-key", mesh.key.text),)
        stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
        assert stub.Classify(request, metadata=metadata, timeout=PATIENCE_S).results
    until(gateway.at_rest, "rest")


def served(known: httpx.Client) -> bool:
    """Whether a caller that is connected is served."""
    return known.post(CLASSIFY, json=BODY).status_code == 200


def answered(caller: socket.socket) -> bool:
    """Whether a caller has an answer by now."""
    ready, _, _ = select.select([caller], [], [], 0)
    return bool(ready) and caller.recv(1, socket.MSG_PEEK) == b"H"
