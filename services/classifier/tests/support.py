"""What several test files use."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Literal

from mesh_classifier.answers import Classification
from mesh_classifier.fallback import Lexicon
from mesh_classifier.model import Classifier
from mesh_classifier.network import Network, load
from mesh_classifier.servicer import About
from meshkit.batch_queue import QueueBounds
from meshkit.batching import MicroBatcher
from meshkit.lineage import Lineage
from meshkit.store import Version

MAX_TEXTS = 12
CALL_S = 30.0
ABOUT = About(
    lineage=Lineage("classifier", "1", "canary", "run-1", "test"),
    precision="fp32",
    max_length_tokens=256,
    max_texts=MAX_TEXTS,
    metrics={"accuracy": 0.5},
    serving_since=datetime(2026, 1, 2, tzinfo=UTC),
)
# A word that the tokenizer of the fixture `broken` knows and its graph does not.
UNBEARABLE = "zzyzx"

# As people write: short and long, plain and odd, of several lengths in tokens.
TEXTS = [
    "A delight from the first scene to the last.",
    "The battery died after two days and nobody answered my mails.",
    "It is a film.",
    "ok",
    "Not bad at all, though I would not call it good either.",
    "The council will decide on the new budget when it meets again on Thursday.",
    "WORST. PURCHASE. EVER!!! :(",
    "\u00bfQu\u00e9 tal? \u4eca\u65e5\u306f\u826f\u3044\u5929\u6c17\u3067\u3059\u306d \U0001f600",
    "The plot wanders, the jokes fall flat, and yet the two leads have such charm that I left the "
    "cinema smiling, which is more than I can say of anything else I have seen this year.",
    "word " * 400,
]


def load_network(version: Version, precision: Literal["fp32", "int8"], width: int = 8) -> Network:
    return load(version, precision, max_batch_size=width, threads=1).network


class Held:
    """The real network behind a gate, with a list of what it was given."""

    def __init__(self, network: Network) -> None:
        self.go_on = threading.Event()
        self.begun = asyncio.Event()
        self.seen: list[str] = []
        self._network = network
        self._loop = asyncio.get_running_loop()

    def __call__(self, bucket: int, texts: Sequence[str]) -> list[Classification]:
        self.seen.extend(texts)
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self.go_on.wait(30)
        return self._network.classify(bucket, texts)


Run = Callable[[int, Sequence[str]], list[Classification]]


@asynccontextmanager
async def serving(
    network: Network,
    run: Run | None = None,
    max_batch_size: int = 8,
    queue_capacity: int = 12,
    workers: int = 1,
) -> AsyncIterator[tuple[Classifier, MicroBatcher[str, int, Classification]]]:
    batcher = MicroBatcher(
        run or network.classify,
        key=network.bucket,
        name="test",
        max_batch_size=max_batch_size,
        max_queue_delay_ms=0,
        queue=QueueBounds(queue_capacity),
        workers=workers,
    )
    async with batcher:
        yield Classifier(batcher, Lexicon(), MAX_TEXTS), batcher


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # several things may bring it about
            await asyncio.sleep(0)
