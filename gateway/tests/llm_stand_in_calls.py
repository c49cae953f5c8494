"""Calls to the stand-in for the llm itself, past the gateway."""

import grpc

from mesh.llm.v1 import llm_pb2, llm_pb2_grpc
from processes import PATIENCE_S


def said(channel: grpc.Channel, script: str) -> str:
    """What it says to a script."""
    message = llm_pb2.Message(role=llm_pb2.ROLE_USER, content=[llm_pb2.ContentPart(text=script)])
    request = llm_pb2.ChatRequest(messages=[message])
    stub = llm_pb2_grpc.LlmServiceStub(channel)
    return "".join(each.delta.content for each in stub.Chat(request, timeout=PATIENCE_S))
