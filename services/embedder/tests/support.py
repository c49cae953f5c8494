"""What several test files use."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import numpy as np

from mesh_embedder.inputs import Embedding, Input, TooLong
from mesh_embedder.model import Abilities, Embedder
from mesh_embedder.network import Network
from mesh_embedder.servicer import About
from meshkit.accounts import Accounts
from meshkit.batch_queue import QueueBounds
from meshkit.batching import MicroBatcher
from meshkit.errors import MeshError
from meshkit.lineage import Lineage
from meshkit.onnx import FloatArray
from meshkit.prices import Prices

MAX_INPUTS = 12
DIMENSIONS = 384
CALL_S = 60.0
ABILITIES = Abilities(
    names=("all-MiniLM-L6-v2", "embedder"),
    dimensions=DIMENSIONS,
    allowed_dimensions=(DIMENSIONS,),
    max_tokens=256,
    vocabulary_size=30_522,
    max_inputs=MAX_INPUTS,
)
ABOUT = About(
    lineage=Lineage("embedder", "1", "canary", "run-1", "test"),
    abilities=ABILITIES,
    precision="fp32",
    metrics={"min_cosine": 0.99999},
    serving_since=datetime(2026, 1, 2, tzinfo=UTC),
)

# Of a mesh without a ledger.
NO_ACCOUNTS = Accounts(None, None, Prices.load(None))

# As people write: short and long, plain and odd, of several lengths in tokens.
TEXTS = [
    "A cat sits on the mat.",
    "A kitten rests on the rug.",
    "The stock market fell by three percent on Thursday.",
    "ok",
    "WORST. PURCHASE. EVER!!! :(",
    "\u00bfQu\u00e9 tal? \u4eca\u65e5\u306f\u826f\u3044\u5929\u6c17\u3067\u3059\u306d \U0001f600",
    "The plot wanders, the jokes fall flat, and yet the two leads have such charm that I left the "
    "cinema smiling, which is more than I can say of anything else I have seen this year.",
    "word " * 400,
]
# "a cat sits on the mat" without the special tokens around it.
CAT_IDS = (1037, 4937, 7719, 2006, 1996, 13523, 1012)

# Single precision over six layers, and other orders of sums.
TOLERANCE = 1e-5


class Held:
    """The real network behind a gate, with a list of what it was given."""

    def __init__(self, network: Network) -> None:
        self.go_on = threading.Event()
        self.begun = asyncio.Event()
        self.seen: list[object] = []
        self._network = network
        self._loop = asyncio.get_running_loop()

    def __call__(self, bucket: int, inputs: Sequence[Input]) -> list[Embedding | TooLong]:
        self.seen.extend(each.content for each in inputs)
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self.go_on.wait(60)
        return self._network.embed(bucket, inputs)


Run = Callable[[int, Sequence[Input]], Sequence[Embedding | TooLong]]


@asynccontextmanager
async def serving(
    network: Network,
    run: Run | None = None,
    *,
    abilities: Abilities = ABILITIES,
    accounts: Accounts | None = None,
    max_batch_size: int = 8,
    queue_capacity: int = 12,
    max_queued: int = 12,
) -> AsyncIterator[tuple[Embedder, MicroBatcher[Input, int, Embedding | TooLong]]]:
    batcher = MicroBatcher(
        run or network.embed,
        key=network.bucket,
        name="test",
        max_batch_size=max_batch_size,
        max_queue_delay_ms=0,
        queue=QueueBounds(queue_capacity),
        workers=1,
    )
    async with batcher:
        yield Embedder(batcher, accounts or NO_ACCOUNTS, abilities, max_queued), batcher


def vectors(outcomes: Sequence[Embedding | TooLong | MeshError]) -> FloatArray:
    """The embeddings, none of which is missing."""
    found = [each.values for each in outcomes if isinstance(each, Embedding)]
    assert len(found) == len(outcomes)
    return np.stack(found)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # several things may bring it about
            await asyncio.sleep(0)
