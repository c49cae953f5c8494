"""The routes, with what they need."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final, get_args

from mesh_gateway.admission import Admission
from mesh_gateway.direct import WholeRoute
from mesh_gateway.lineage_log import LineageLog
from mesh_gateway.metering import Metering
from mesh_gateway.openai import chat, completions, embeddings, models, responses
from mesh_gateway.openai.caching import CachingGenerator
from mesh_gateway.openai.catalog import Catalog
from mesh_gateway.openai.chunk_schemas import ChatCompletionChunk, CompletionChunk
from mesh_gateway.openai.chunks import DONE
from mesh_gateway.openai.door import Door
from mesh_gateway.openai.generating import Generating, Generator
from mesh_gateway.openai.generation_route import GenerationRoute
from mesh_gateway.openai.prompt_cache import PromptCache
from mesh_gateway.openai.requests import (
    ChatCompletionRequest,
    CompletionRequest,
    EmbeddingRequest,
)
from mesh_gateway.openai.responses_api import route as responses_route
from mesh_gateway.openai.responses_api.events import EVENTS
from mesh_gateway.openai.responses_api.requests import InputItem, ResponseRequest
from mesh_gateway.openai.responses_api.responses import Response
from mesh_gateway.openai.routing import Deployments, Router
from mesh_gateway.openapi import OPENAI, HotRoute, Operation
from mesh_gateway.settings import Settings
from meshkit.client import Client

_TAG: Final = "openai"
_DOCS: Final = "docs/openai.md says what becomes of each parameter."


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes are made of.

    Attributes:
        settings: of the gateway.
        admission: lets callers in.
        metering: reserves and settles tokens.
        deployments: of the llm.
        embedder: client of the embedder.
        catalog: what these serve.
        lineage_log: remembers what answered; None to remember nothing.
    """

    settings: Settings
    admission: Admission
    metering: Metering
    deployments: Deployments
    embedder: Client
    catalog: Catalog
    lineage_log: LineageLog | None


@asynccontextmanager
async def opened(parts: Parts) -> AsyncIterator[Sequence[HotRoute]]:
    """Every route of this API, as long as they are served."""
    settings = parts.settings
    async with AsyncExitStack() as stack:
        catalog = parts.catalog
        generator: Generating = Generator(parts.metering, catalog, settings.stream_idle_timeout_s)
        if cache := prompt_cache(settings):
            await stack.enter_async_context(cache)
            generator = CachingGenerator(cache, generator, catalog, parts.metering)
        router = Router(parts.deployments, catalog)
        door = Door(parts.admission, router, catalog, generator, parts.lineage_log)
        yield _routes(door, parts)


def prompt_cache(settings: Settings) -> PromptCache | None:
    """The cache that the settings want; None where they want none."""
    if settings.prompt_cache_redis_url is None:
        return None
    return PromptCache(
        settings.prompt_cache_redis_url,
        timeout_s=settings.redis_timeout_s,
        ttl_s=settings.prompt_cache_ttl_s,
        most_entries=settings.prompt_cache_entries,
        most_bytes=settings.prompt_cache_entry_bytes,
    )


def _routes(door: Door, parts: Parts) -> Sequence[HotRoute]:
    generation_s = parts.settings.llm_timeout_s
    idle_s = parts.settings.stream_idle_timeout_s
    listed = models.Models(door)
    embedding = embeddings.Embeddings(door, parts.embedder, parts.metering)
    generations = (
        (chat.PATH, chat.begin(door), _CHAT),
        (responses_route.PATH, responses_route.begin(door), _RESPONSE),
        (completions.PATH, completions.Completions(door).begin, _COMPLETION),
    )
    return [
        *(
            GenerationRoute(path, begin, operation, generation_s, idle_s)
            for path, begin, operation in generations
        ),
        WholeRoute(embeddings.PATH, embedding, _EMBEDDING, parts.settings.embeddings_timeout_s),
        HotRoute(models.PATH, listed.every, _MODELS),
        HotRoute(models.PATH_OF_ONE, listed.one, _MODEL),
    ]


_CHAT: Final = Operation(
    name="createChatCompletion",
    summary="Continue a conversation",
    description=f"As OpenAI's API has it, streamed where `stream` is true; {_DOCS}",
    request=ChatCompletionRequest,
    response=responses.ChatCompletion,
    tag=_TAG,
    events=(ChatCompletionChunk, responses.OpenAIError),
    done=DONE.decode(),
    errors=OPENAI,
)
_RESPONSE: Final = Operation(
    name="createResponse",
    summary="Continue a conversation, in the newer form",
    description=f"As OpenAI's API has it, but stateless; streamed where `stream` is true; {_DOCS}",
    request=ResponseRequest,
    parts=get_args(InputItem),
    response=Response,
    tag=_TAG,
    events=EVENTS,
    errors=OPENAI,
)
_COMPLETION: Final = Operation(
    name="createCompletion",
    summary="Continue a text",
    description=f"As OpenAI's API has it, streamed where `stream` is true; {_DOCS}",
    request=CompletionRequest,
    response=responses.Completion,
    tag=_TAG,
    events=(CompletionChunk, responses.OpenAIError),
    done=DONE.decode(),
    errors=OPENAI,
)
_EMBEDDING: Final = Operation(
    name="createEmbedding",
    summary="Vectors of texts",
    description=f"As OpenAI's API has it; {_DOCS}",
    request=EmbeddingRequest,
    response=responses.EmbeddingList,
    tag=_TAG,
    errors=OPENAI,
)
_MODELS: Final = Operation(
    name="listModels",
    summary="What requests may name",
    description="The models, adapters and aliases that the key may use.",
    request=None,
    response=responses.ModelList,
    tag=_TAG,
    method="GET",
    errors=OPENAI,
    statuses=("400", "401", "500", "503", "504"),
)
_MODEL: Final = Operation(
    name="retrieveModel",
    summary="One of them",
    description="A model, by its name.",
    request=None,
    response=responses.Model,
    tag=_TAG,
    method="GET",
    errors=OPENAI,
    statuses=("400", "401", "404", "500", "503", "504"),
)
