"""A replica that can be told to be faulty or slow, as `python -m chaos_replica`.

The first word of a file says how it is now: `good`; `half` or `all` of its calls `fault`, or are
`late`, which means that they are not answered at all.
"""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import meshkit.run
from mesh.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from meshkit.run import App
from meshkit.server import GrpcServer, Service
from stand_in import Settings, StandIn

MOOD: Final = "CHAOS_MOOD_PATH"
"""The variable that names the file."""


class Moody(StandIn):
    """The stand-in service, in some mood."""

    def __init__(self, deployment: str, mood: Path) -> None:
        super().__init__(deployment)
        self._mood = mood
        self._turns = itertools.count()

    async def Classify(  # noqa: N802  # named by the contract
        self, request: classifier_pb2.ClassifyRequest, context: object
    ) -> classifier_pb2.ClassifyResponse:
        share, _, mood = self._mood.read_text().partition(" ")
        if mood and (share == "all" or next(self._turns) % 2 == 0):
            self._counts[mood] += 1
            if mood == "fault":
                raise ZeroDivisionError("a secret of the implementation")
            await asyncio.Event().wait()
        return await super().Classify(request, context)


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[App]:
    servicer = Moody(settings.deployment, Path(os.environ[MOOD]))
    service = Service(classifier_pb2_grpc.add_ClassifierServiceServicer_to_server, servicer)
    yield App(servers=[GrpcServer(settings, [service])])


if __name__ == "__main__":
    meshkit.run.main(Settings, "chaos_replica:app")
