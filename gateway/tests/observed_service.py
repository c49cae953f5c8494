"""The stand-in service, which tells the metadata of a call to whoever asks with "metadata".

It stumbles over a text that begins with "stumble", and quotes it.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import meshkit.run
from mesh.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from meshkit.interceptors import Call
from meshkit.run import App
from meshkit.server import GrpcServer, Service
from stand_in import Settings, StandIn


class Telling(StandIn):
    async def Classify(  # noqa: N802  # named by the contract
        self, request: classifier_pb2.ClassifyRequest, context: object
    ) -> classifier_pb2.ClassifyResponse:
        if request.texts and request.texts[0].startswith("stumble"):
            raise ValueError(f"can't take {request.texts[0]!r}")
        response = await super().Classify(request, context)
        if list(request.texts) == ["metadata"]:
            assert isinstance(context, Call)
            response.results[0].classification.label = json.dumps(dict(context.metadata))
        return response


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[App]:
    servicer = Telling(settings.deployment)
    service = Service(classifier_pb2_grpc.add_ClassifierServiceServicer_to_server, servicer)
    yield App(servers=[GrpcServer(settings, [service])])


if __name__ == "__main__":
    meshkit.run.main(Settings, "observed_service:app")
