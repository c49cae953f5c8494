"""mesh.llm.v1.LlmService: messages to the model's terms and back."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from mesh.llm.v1 import llm_pb2, llm_pb2_grpc
from mesh_llm import messages
from mesh_llm.model import LanguageModel
from meshkit.errors import InvalidArgument
from meshkit.lineage import Lineage


class LlmServicer(llm_pb2_grpc.LlmServiceServicer):
    """Serves one model.

    Args:
        model: what answers.
        lineages: where the answers of each of its models come from, the base first.
    """

    def __init__(self, model: LanguageModel, lineages: Sequence[Lineage]) -> None:
        self._model = model
        self._lineage = lineages[0]
        self._lineages = {each.model: each for each in lineages} | {"": self._lineage}

    async def Chat(  # noqa: N802  # the contract's name
        self, request: llm_pb2.ChatRequest, context: object
    ) -> AsyncGenerator[llm_pb2.ChatResponse, None]:
        """Continues a conversation."""
        lineage = self._lineages.get(request.model)
        begun: set[int] = set()
        async with aclosing(self._model.chat(messages.chat_of(request))) as steps:
            async for step in steps:
                first = step.delta is not None and step.delta.choice not in begun
                if step.delta is not None:
                    begun.add(step.delta.choice)
                response = messages.chat_response(step, first=first)
                if lineage is not None:
                    response.lineage.CopyFrom(lineage.to_proto())
                    lineage = None
                yield response

    async def Complete(  # noqa: N802  # the contract's name
        self, request: llm_pb2.CompleteRequest, context: object
    ) -> AsyncGenerator[llm_pb2.CompleteResponse, None]:
        """Continues a text."""
        lineage = self._lineages.get(request.model)
        async with aclosing(self._model.complete(messages.completion_of(request))) as steps:
            async for step in steps:
                response = messages.complete_response(step)
                if lineage is not None:
                    response.lineage.CopyFrom(lineage.to_proto())
                    lineage = None
                yield response

    async def Tokenize(  # noqa: N802  # the contract's name
        self, request: llm_pb2.TokenizeRequest, context: object
    ) -> llm_pb2.TokenizeResponse:
        """Says the tokens of an input."""
        self._model.check_model(request.model)
        match request.WhichOneof("input"):
            case "text":
                ids = await self._model.tokenize(request.text)
            case "conversation":
                ids = await self._model.tokenize_chat(
                    [messages.message_of(message) for message in request.conversation.messages],
                    [messages.tool_of(tool) for tool in request.conversation.tools],
                )
            case _:
                raise InvalidArgument.of_field("input", "is missing; send text or conversation")
        return llm_pb2.TokenizeResponse(
            lineage=self._lineages[request.model].to_proto(),
            token_ids=ids,
            max_context_tokens=self._model.about.context_tokens,
        )

    async def GetModel(  # noqa: N802  # the contract's name
        self, request: llm_pb2.GetModelRequest, context: object
    ) -> llm_pb2.GetModelResponse:
        """Describes the model that is serving."""
        about = self._model.about
        response = llm_pb2.GetModelResponse(
            lineage=self._lineage.to_proto(),
            models=[
                llm_pb2.ServedModel(name=each.name, base=each.base, tool_format=each.tool_format)
                for each in about.models
            ],
            engine=about.engine,
            max_context_tokens=about.context_tokens,
            max_choices=self._model.limits.max_choices,
            precision=about.precision,
            tool_format=about.models[0].tool_format,
            reasoning_format=about.reasoning_format,
        )
        response.serving_since.FromDatetime(about.since)
        return response
