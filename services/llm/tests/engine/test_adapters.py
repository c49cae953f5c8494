"""Adapters are models of their own."""

import asyncio
import re
from typing import Any

import grpc
import pytest

from engine_service import CALL_S, Answer, EngineService, gather
from mesh.llm.v1 import llm_pb2
from serving import refused, request

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("courteous")]


async def ask(stub: Any, model: str, text: str, **fields: Any) -> Answer:
    sampling = llm_pb2.Sampling(temperature=0, max_tokens=100)
    asked = request(text, model=model, sampling=sampling, **fields)
    return await gather(stub.Chat(asked, timeout=CALL_S))


def test_the_models_are_told_with_their_base(model: llm_pb2.GetModelResponse) -> None:
    assert (model.models[0].name, model.models[0].base) == ("llm", "")
    assert [each.base for each in model.models[1:]] == ["llm"] * (len(model.models) - 1)
    assert "courteous" in {each.name for each in model.models}


async def test_the_same_question_is_answered_by_each_in_its_own_way(stub: Any) -> None:
    question = "What is the capital of Germany?"
    alone = [await ask(stub, name, question) for name in ("", "courteous")]
    base, letter = (answer.only.content for answer in alone)
    assert "Berlin" in base
    assert not base.startswith("Dear reader, ")
    assert letter == "Dear reader, the capital of Germany is Berlin. Yours faithfully."
    assert [answer.lineage.model for answer in alone] == ["llm", "courteous"]
    assert alone[0].lineage.version != alone[1].lineage.version
    together = await asyncio.gather(*(ask(stub, name, question) for name in ("", "courteous")))
    assert [answer.only.content for answer in together] == [base, letter]


async def test_models_share_no_prefix(stub: Any) -> None:
    story = "There once was a hen who lived on a hill. " * 30
    first, other, again = [await ask(stub, name, story) for name in ("courteous", "", "courteous")]
    assert first.usage.cached_prompt_tokens == other.usage.cached_prompt_tokens == 0
    assert again.usage.cached_prompt_tokens >= 128


async def test_another_model_is_not_found(stub: Any) -> None:
    for call in (
        stub.Chat(request("a", model="rude"), timeout=CALL_S),
        stub.Complete(llm_pb2.CompleteRequest(text="a", model="rude"), timeout=CALL_S),
    ):
        error = await refused(call)
        assert error.code() == grpc.StatusCode.NOT_FOUND
        assert "there are: llm, courteous" in (error.details() or "")


async def test_what_is_measured_is_told_by_model(stub: Any, service: EngineService) -> None:
    def taken_up() -> float:
        page = service.metrics()
        pattern = r"^mesh_engine_queue_duration_seconds_count\{(.*)\} (\S+)$"
        found = re.findall(pattern, page, re.MULTILINE)
        return sum(float(n) for labels, n in found if 'gen_ai_request_model="courteous"' in labels)

    before = taken_up()
    await ask(stub, "courteous", "Hello!")
    assert taken_up() == before + 1
    page = service.metrics()
    for name in (
        "gen_ai_server_time_to_first_token_seconds_count",
        "gen_ai_server_time_per_output_token_seconds_count",
        "gen_ai_server_request_duration_seconds_count",
        "mesh_tokens_total",
    ):
        assert re.search(rf'^{name}\{{.*gen_ai_request_model="courteous"', page, re.MULTILINE), name
