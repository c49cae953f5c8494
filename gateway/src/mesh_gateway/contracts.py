"""The services behind the gateway, and what it offers of each: one entry for a new service."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.descriptor import FileDescriptor

from mesh.classifier.v1 import classifier_pb2
from mesh.embedding.v1 import embedding_pb2
from mesh.llm.v1 import llm_pb2
from mesh_gateway.admission import Admission
from mesh_gateway.lineage_log import LineageLog
from mesh_gateway.openapi import HotRoute
from mesh_gateway.routes import classify
from mesh_gateway.settings import Settings
from meshkit.client import Client


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes of a service are made of.

    Attributes:
        settings: of the gateway.
        admission: lets callers in.
        client: calls the service.
        lineage_log: remembers what answered; None to remember nothing.
    """

    settings: Settings
    admission: Admission
    client: Client
    lineage_log: LineageLog | None


@dataclass(frozen=True, slots=True)
class Contract:
    """A service behind the gateway. All its methods are at the gRPC door without a word more.

    Attributes:
        name: of the service, as scopes and metrics have it.
        target: where its replicas are, by the settings.
        files: its protos.
        routes: what it has over HTTP.
        model: the name of its model on the Open Inference Protocol; None where it has no tensors.
        instead: how it is asked where its tokens count, as an error says it to who sends tensors:
            the gateway does not know what those hold, and so can't reserve what they may use.
    """

    name: str
    target: Callable[[Settings], str]
    files: tuple[FileDescriptor, ...]
    routes: Callable[[Parts], Sequence[HotRoute]]
    model: str | None = None
    instead: str = ""


def _classifier_routes(parts: Parts) -> Sequence[HotRoute]:
    timeout_s = parts.settings.classify_timeout_s
    return [classify.route(parts.admission, parts.client, parts.lineage_log, timeout_s)]


LLM: Final = Contract(
    name="llm",
    target=lambda settings: settings.llm_target,
    files=(llm_pb2.DESCRIPTOR,),
    # What it has over HTTP is compatible with OpenAI's API: `openai/routes.py`.
    routes=lambda parts: (),
    instead="send POST /v1/chat/completions, or call mesh.llm.v1.LlmService/Chat",
)
CONTRACTS: Final = (
    Contract(
        name="classifier",
        target=lambda settings: settings.classifier_target,
        files=(classifier_pb2.DESCRIPTOR,),
        routes=_classifier_routes,
        model="classifier",
    ),
    Contract(
        name="embedder",
        target=lambda settings: settings.embedder_target,
        files=(embedding_pb2.DESCRIPTOR,),
        routes=lambda parts: (),
        instead="send POST /v1/embeddings, or call mesh.embedding.v1.EmbeddingService/Embed",
    ),
    LLM,
)
