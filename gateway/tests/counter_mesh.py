"""A mesh that counts, too: its answers are streams."""

import json
from pathlib import Path
from typing import Any, Self

from counter_contract import GET_COUNTS, Count, CountRequest
from processes import PATIENCE_S, Gateway, Mesh, StandInService, until


class CounterService(StandInService):
    """The service that counts."""

    name = "counter"
    module = "counter_service"

    def counts(self) -> dict[str, int]:
        """How many streams were begun, are open, and how many messages were made."""
        with self.channel() as channel:
            call: Any = channel.unary_unary(
                f"/{GET_COUNTS}", response_deserializer=Count.FromString
            )
            answer = call(CountRequest().SerializeToString(), timeout=PATIENCE_S)
        counts: dict[str, int] = json.loads(answer.said)
        return counts


class CounterGateway(Gateway):
    """The gateway, before the counter too."""

    module = "counter_gateway"


class CounterMesh(Mesh):
    """A mesh with the counter; its key may call that alone."""

    gateway_type = CounterGateway

    def __init__(self, folder: Path, **settings: object) -> None:
        self.counter = CounterService(folder)
        target = f"127.0.0.1:{self.counter.port}"
        super().__init__(folder, MESH_GATEWAY_COUNTER_TARGET=target, **settings)
        self._looks = [-1]

    def __enter__(self) -> Self:
        self.counter.start()
        super().__enter__()
        until(lambda: self.gateway.backend("counter") == "ready", "the counter's readiness")
        self.set_scopes(self.key, "counter")
        return self

    def __exit__(self, *_: object) -> None:
        self.counter.kill()
        super().__exit__()

    def at_rest(self) -> bool:
        """Whether nothing is in flight in the gateway, nor in the service."""
        return self.counter.counts().get("open", 0) == 0 and self.gateway.at_rest()

    def stands_still(self) -> bool:
        """Whether no message was made between any two of the last twenty looks at it."""
        self._looks = [*self._looks, self.counter.counts()["made"]][-20:]
        return len(self._looks) == 20 and len(set(self._looks)) == 1
