"""What a service tells the ledger of each request that it answers, whatever becomes of it."""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from meshkit import context
from meshkit.compute_share import ComputeShare
from meshkit.ledger import NOBODY, Ledger, Source, Usage
from meshkit.ledger_writer import LedgerWriter, metrics_url
from meshkit.prices import Prices
from meshkit.reservations import Reservations, Used
from meshkit.settings import MeteredSettings
from meshkit.settling import Settler

_MOST_SETTLEMENTS: Final = 100_000
# A reservation is of one request; what that asks for on its way is not under it.
_FROM_THE_GATEWAY: Final = 1


@dataclass(frozen=True, slots=True)
class Machine:
    """What requests are computed on, which they share.

    Attributes:
        cpus: how many.
        gpus: how many.
    """

    cpus: float = 0.0
    gpus: float = 0.0


NO_MACHINE: Final = Machine()
"""Where somebody else's computes."""


class Accounts:
    """Accounts for requests.

    Args:
        writer: of the ledger; None to keep none.
        settler: settles reservations; None where there is no ledger.
        prices: what tokens and computing cost.
        source: where answers come from.
        machine: what computes them.
    """

    def __init__(
        self,
        writer: LedgerWriter | None,
        settler: Settler | None,
        prices: Prices,
        source: Source = Source.LOCAL,
        machine: Machine = NO_MACHINE,
    ) -> None:
        self._writer = writer
        self._settler = settler
        self._prices = prices
        self._source = source
        self._machine = machine
        self._share = ComputeShare()

    def request(self, model: str) -> "Account":
        """The account of the request at hand, for as long as a block lasts.

        Args:
            model: which answers; one of those that there are.
        """
        return Account(self, model)

    def begin(self) -> float:
        """Says that a request begins to be computed."""
        return self._share.begin()

    def end(self, begun: float, model: str, used: Used) -> None:
        """Writes down what a request has used."""
        part_s = self._share.end(begun)
        if self._writer is None or self._settler is None:
            return
        request = context.current()
        tenant = request.tenant if request and request.tenant else NOBODY
        cpu_s, gpu_s = part_s * self._machine.cpus, part_s * self._machine.gpus
        usage = Usage(
            requests=1,
            prompt_tokens=used.prompt,
            cached_tokens=used.cached_prompt,
            completion_tokens=used.completion,
            charged_nanos=self._prices.of(model).nanos(
                used.prompt, used.cached_prompt, used.completion
            ),
            cpu_ms=round(cpu_s * 1000),
            gpu_ms=round(gpu_s * 1000),
            compute_nanos=self._prices.compute_nanos(cpu_s, gpu_s),
        )
        key_id = request.key_id if request else ""
        self._writer.add(tenant, key_id, model, self._source, usage)
        if request and request.reservation and request.hops == _FROM_THE_GATEWAY:
            self._settler.add((tenant, request.reservation), used)


class Account:
    """One request. What it has used is written down when its block is left, however it is left."""

    __slots__ = ("_accounts", "_begun", "_model", "_used")

    def __init__(self, accounts: Accounts, model: str) -> None:
        self._accounts = accounts
        self._model = model
        self._used = Used()

    def used(self, prompt: int, completion: int = 0, cached_prompt: int = 0) -> None:
        """Says what it has used so far: cumulative, so that the last word counts."""
        self._used = Used(prompt, completion, cached_prompt)

    def __enter__(self) -> Self:
        self._begun = self._accounts.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._accounts.end(self._begun, self._model, self._used)


@dataclass(frozen=True, slots=True)
class Accounting:
    """The accounts of a service, and what is to run in the background for them."""

    accounts: Accounts
    tasks: Sequence[Callable[[], Coroutine[Any, Any, None]]]


@asynccontextmanager
async def accounting(
    settings: MeteredSettings, service: str, source: Source, machine: Machine
) -> AsyncIterator[Accounting]:
    """Connects to the ledger, where the settings name a Redis; nothing waits for it.

    Args:
        settings: of the service.
        service: its name, as processes are called.
        source: where its answers come from.
        machine: what computes them.

    Raises:
        StartError: the prices can't be read.
    """
    prices = Prices.load(settings.prices_path)
    if settings.redis_url is None:
        yield Accounting(Accounts(None, None, prices, source, machine), ())
        return
    timeout_s = settings.redis_timeout_s
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(Ledger(settings.redis_url, timeout_s=timeout_s))
        limits_url = settings.limits_redis_url or settings.redis_url
        reservations = await stack.enter_async_context(
            Reservations(limits_url, timeout_s=timeout_s)
        )
        writer = LedgerWriter(ledger, service, metrics_url(settings))
        settler = Settler(reservations, _MOST_SETTLEMENTS)
        yield Accounting(
            Accounts(writer, settler, prices, source, machine), (writer.run, settler.run)
        )
