"""The gates of a model that embeds: what makes an answer unsound, and what its golden set asks."""

import asyncio
from collections.abc import Callable

import pytest

from mesh.embedding.v1 import embedding_pb2
from mesh_cli.promotion import embeddings, policy
from mesh_cli.promotion.outcomes import Outcome, Verdict
from mesh_cli.promotion.policy import Triple, Triples
from meshkit.client import Client

Response = embedding_pb2.EmbedResponse
TEXTS = ["a text"]


def response() -> Response:
    """A sound answer to one text, of a model with two dimensions."""
    found = Response()
    found.lineage.version = "v1"
    found.results.add().embedding.values.extend([0.6, -0.8])
    return found


def faults(change: Callable[[Response], None]) -> list[str]:
    changed = response()
    change(changed)
    return embeddings.faults(changed, TEXTS, "v1", 2)


def other_version(found: Response) -> None:
    found.lineage.version = "v2"


def two_results(found: Response) -> None:
    found.results.append(found.results[0])


def item_error(found: Response) -> None:
    found.results[0].error.reason = "MODEL_FAILED"


def too_many(found: Response) -> None:
    found.results[0].embedding.values.append(0.0)


def too_long(found: Response) -> None:
    found.results[0].embedding.values[0] = 1.0


def no_number(found: Response) -> None:
    found.results[0].embedding.values[0] = float("nan")


def test_a_sound_answer_has_no_fault() -> None:
    assert faults(lambda _: None) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (other_version, "version 'v2' answered instead of v1"),
        (two_results, "2 results to 1 texts"),
        (item_error, "a text got the error MODEL_FAILED"),
        (too_many, "3 numbers, and the model has 2"),
        (too_long, "the length 1.2806 instead of 1"),
        (no_number, "the length nan instead of 1"),
    ],
)
def test_an_unsound_answer_is_named(change: Callable[[Response], None], fault: str) -> None:
    (found,) = faults(change)
    assert fault in found


def test_a_golden_set_that_nobody_answers_has_failed() -> None:
    async def run() -> Outcome:
        async with Client("embedder", "127.0.0.1:1", max_message_bytes=2**20) as client:
            wanted = Triples([Triple("cats", "a cat", "a kitten", "a bank")])
            return await embeddings.golden(client, "v1", 2, wanted)

    outcome = asyncio.run(run())
    assert outcome.verdict is Verdict.FAILED
    assert outcome.summary.startswith("'cats': UNAVAILABLE: no replica of embedder")


def test_the_embedder_states_its_bounds_and_its_golden_set() -> None:
    bounds, golden = policy.load_policy("embedder"), policy.load_triples("embedder")
    assert bounds.load.calls == 300
    assert bounds.parity == {"max_cosine_difference": 1e-4}
    assert bounds.batch_invariance.keys() == {"fp32"}
    assert len(golden.cases) >= 12
