"""The service answers as vLLM's own server does: same text, same counts, same ends.

One request at a time, the two servers in turn, nothing kept from one request for the next.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

import oracle_servers
from meshkit import store
from oracle_sides import Observed, ask_server, ask_service
from oracle_table import ROWS, Row

pytestmark = pytest.mark.full
# Of log probabilities: the same sums, in the same order, on the same machine.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Both:
    """What the two answered to each row; None where they refused."""

    service: dict[str, Observed | None]
    server: dict[str, Observed | None]


@pytest.fixture(scope="module")
def answers(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Both:
    return asyncio.run(_ask_both(models, tmp_path_factory.mktemp("oracle")))


async def _ask_both(models: Path, logs: Path) -> Both:
    folder = store.resolve(models, "llm", "production").file("config.json").parent
    async with oracle_servers.server(folder, logs / "server") as client:
        server = {row.name: await ask_server(client, row) for row in ROWS}
    async with oracle_servers.service(models, logs / "service") as stub:
        service = {row.name: await ask_service(stub, row) for row in ROWS}
    return Both(service, server)


def test_rows_are_many_and_have_names_of_their_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) >= 60


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_both_answer_alike(answers: Both, row: Row) -> None:
    ours, theirs = answers.service[row.name], answers.server[row.name]
    refusing = row.refused and "refusal" not in row.differs
    assert (ours is None, theirs is None) == (row.refused, refusing), "who refuses it"
    if ours is None or theirs is None:
        return
    for aspect in ("texts", "calls", "reasons", "prompt_tokens", "completion_tokens"):
        if aspect not in row.differs:
            assert getattr(ours, aspect) == getattr(theirs, aspect), aspect
    if "logprobs" in row.differs:
        return
    assert len(ours.logprobs) == len(theirs.logprobs)
    for one, other in zip(ours.logprobs, theirs.logprobs, strict=True):
        assert [token for token, *_ in one] == [token for token, *_ in other]
        assert [value for _, value, _ in one] == pytest.approx(
            [value for _, value, _ in other], abs=_TOLERANCE
        )
        assert [top for *_, top in one] == [top for *_, top in other]
