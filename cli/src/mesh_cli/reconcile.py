"""Whether the ledger has what the processes that write it have counted."""

import asyncio
import re
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from meshkit.ledger import Ledger, Source, Usage, Writer
from meshkit.names import TokenType

_PATIENCE_S: Final = 10.0
_LOOK_EVERY_S: Final = 0.25
_TIMEOUT_S: Final = 5.0
_TOKENS: Final = re.compile(r"^mesh_tokens_total\{(.*)\} ([0-9.e+]+)$", re.MULTILINE)
_ENGINE: Final = re.compile(
    r"^vllm:(prompt|generation)_tokens_total\{.*\} ([0-9.e+]+)$", re.MULTILINE
)
_RESTARTED: Final = re.compile(r"^mesh_engine_restarts_total(?:\{.*\})? ([0-9.e+]+)$", re.MULTILINE)
_TYPE: Final = re.compile(r'gen_ai_token_type="(\w+)"')
_WAITING: Final = re.compile(r"^mesh_ledger_waiting(?:\{.*\})? ([0-9.e+]+)$", re.MULTILINE)
# Written by the gateway for answers that no service gave, so that nothing counts them.
_UNCOUNTED: Final = "gateway"


@dataclass(frozen=True)
class Line:
    """One process that writes the ledger.

    Attributes:
        writer: the process.
        source: where its answers come from.
        written: what the ledger has of it, by type.
        counted: what its counters say; None where it is gone, or can't be reached.
        engine: what its engine says by itself, where it does: no less than was counted, and more
            where it had made what nobody took.
        engine_restarted: whether its engine was started again, and its numbers began anew.
        fault: why there are no counters.
    """

    writer: Writer
    source: str
    written: Mapping[TokenType, int]
    counted: Mapping[TokenType, int] | None
    engine: Mapping[TokenType, int] = field(default_factory=dict)
    engine_restarted: bool = False
    fault: str = ""

    @property
    def differs(self) -> bool:
        """Whether the counters are known and not as written, or the engine has made less."""
        if self.counted is None:
            return False
        return self.counted != self.written or any(
            (self._more_by_engine(kind) or 0) < 0 for kind in self.written
        )

    def rows(self) -> Iterator[tuple[object, ...]]:
        """For people: a row for each type of tokens."""
        place = self.writer.metrics_url.removeprefix("http://").removesuffix("/metrics")
        for kind, written in self.written.items():
            counted = "-" if self.counted is None else self.counted[kind]
            engine = self.engine.get(kind, "-")
            yield (
                *(self.writer.service, place, self.source, kind.value),
                *(written, counted, engine, self._state(kind)),
            )

    def _state(self, kind: TokenType) -> str:
        if self.counted is None:
            return self.fault
        missing = self.counted[kind] - self.written[kind]
        state = f"{missing:+} counted" if missing else "exact"
        if kind in self.engine and self.engine_restarted:
            return f"{state}, engine was started again"
        more = self._more_by_engine(kind)
        return f"{state}, {more:+} by engine" if more else state

    def _more_by_engine(self, kind: TokenType) -> int | None:
        """What the engine has made beyond what is written; None where that is not known."""
        if kind not in self.engine or self.engine_restarted:
            return None
        return self.engine[kind] - self.written[kind]

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "service": self.writer.service,
            "metrics_url": self.writer.metrics_url,
            "started": self.writer.started.isoformat(),
            "source": self.source,
            "written": dict(self.written),
            "counted": None if self.counted is None else dict(self.counted),
            "engine": dict(self.engine),
            "engine_restarted": self.engine_restarted,
            "fault": self.fault or None,
        }


async def compare(ledger: Ledger) -> list[Line]:
    """Compares what each process has written with what it has counted, the oldest first.

    Raises:
        Unavailable: Redis can't be reached.
    """
    writers = sorted(await ledger.writers(), key=lambda each: each.started)
    alive = {each.metrics_url: each.id for each in writers}  # the last one that had the address
    return [
        await _line(ledger, each, alive=alive[each.metrics_url] == each.id)
        for each in writers
        if each.service != _UNCOUNTED
    ]


async def _line(ledger: Ledger, writer: Writer, *, alive: bool) -> Line:
    if not alive:
        written, source = _totals(await ledger.written(writer.id))
        return Line(writer, source, written, None, fault="has ended")
    loop = asyncio.get_running_loop()
    give_up_s = loop.time() + _PATIENCE_S
    while True:
        # The counters first: what is written after them is no difference for long.
        try:
            page = await asyncio.to_thread(_read, writer.metrics_url)
        except OSError as error:
            written, source = _totals(await ledger.written(writer.id))
            return Line(writer, source, written, None, fault=f"can't be asked: {error}")
        written, source = _totals(await ledger.written(writer.id))
        line = Line(
            writer, source, written, _counted(page), _by_engine(page), _any(_RESTARTED, page)
        )
        if (not line.differs and not _any(_WAITING, page)) or loop.time() > give_up_s:
            return line
        await asyncio.sleep(_LOOK_EVERY_S)


def _read(url: str) -> str:
    # The ledger names it, and whoever may write there must not have a file read here.
    if not url.startswith("http://"):
        raise OSError(
            f"{url[:100]!r} is no address of metrics, such as http://10.0.0.7:9062/metrics"
        )
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310  # as was just seen
        text: str = answer.read().decode()
    return text


def _totals(written: Mapping[tuple[str, Source], Usage]) -> tuple[dict[TokenType, int], str]:
    total = sum(written.values(), Usage())
    sources = sorted({source.value for _, source in written})
    return {
        TokenType.INPUT: total.prompt_tokens,
        TokenType.CACHED: total.cached_tokens,
        TokenType.OUTPUT: total.completion_tokens,
    }, ",".join(sources) or "-"


def _counted(page: str) -> dict[TokenType, int]:
    counts = dict.fromkeys((TokenType.INPUT, TokenType.CACHED, TokenType.OUTPUT), 0)
    for labels, value in _TOKENS.findall(page):
        if kind := _TYPE.search(labels):
            counts[TokenType(kind[1])] += int(float(value))
    return counts


def _by_engine(page: str) -> dict[TokenType, int]:
    kinds = {"prompt": TokenType.INPUT, "generation": TokenType.OUTPUT}
    counts: dict[TokenType, int] = {}
    for name, value in _ENGINE.findall(page):
        counts[kinds[name]] = counts.get(kinds[name], 0) + int(float(value))
    return counts


def _any(counter: re.Pattern[str], page: str) -> bool:
    return any(float(value) > 0 for value in counter.findall(page))
