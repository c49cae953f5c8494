"""How a process lives: settings, threads, import of the app, readiness, signals, drain, exit."""

import asyncio
import gc
import importlib
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, TypeVar

from meshkit import cpu
from meshkit.errors import MeshError, StartError
from meshkit.logs import configure_logging
from meshkit.settings import Settings
from meshkit.telemetry import Telemetry

_log = logging.getLogger(__name__)

S = TypeVar("S", bound=Settings)


class Server(Protocol):
    """What listens on a port."""

    async def start(self) -> None:
        """Opens the port and reports ready."""

    async def leave(self) -> None:
        """Reports not ready and serves on."""

    async def stop(self, timeout_s: float) -> None:
        """Accepts no more and finishes what is in flight, within `timeout_s`."""


@dataclass(frozen=True, slots=True)
class App:
    """A loaded and warmed application.

    Attributes:
        servers: started in this order, stopped together.
        tasks: background work for as long as the process serves; one that ends or fails ends the
            process.
    """

    servers: Sequence[Server]
    tasks: Sequence[Coroutine[Any, Any, None]] = ()


AppFactory = Callable[[S], AbstractAsyncContextManager[App]]


def main(
    settings_type: type[S],
    app: str,
    *,
    loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> NoReturn:
    """Runs a process until SIGTERM or SIGINT, and exits.

    The app is imported only once the thread pools are sized, since numpy, ONNX Runtime and faiss
    read their sizes at import.

    Args:
        settings_type: read from the environment.
        app: `module:function`, an async context manager of the settings that yields an `App`. It
            should load and warm everything before it yields, since the ports open then.
        loop: makes the event loop that it runs on; None for asyncio's own.
    """
    try:
        settings = settings_type.load()
        service = app.partition(":")[0].partition(".")[0].removeprefix("mesh_")
        configure_logging(settings.log_level, service)
        _log.info("starting", extra={"settings": settings.masked()})
        cpu.size_thread_pools()
        telemetry = Telemetry(settings, service)
        try:
            with asyncio.Runner(loop_factory=loop) as runner:
                runner.run(_live(_import(app), settings))
        finally:
            telemetry.close()
    except (StartError, MeshError) as error:
        logging.shutdown()  # what was logged before comes first
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
    raise SystemExit(0)


def _import(app: str) -> AppFactory[Any]:
    module, _, name = app.partition(":")
    factory: AppFactory[Any] = getattr(importlib.import_module(module), name)
    return factory


async def _live(factory: AppFactory[S], settings: S) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stopping.set)
    stop = loop.create_task(stopping.wait())
    async with AsyncExitStack() as stack:
        loading = loop.create_task(stack.enter_async_context(factory(settings)))
        await asyncio.wait([loading, stop], return_when=asyncio.FIRST_COMPLETED)
        if not loading.done():
            loading.cancel()
            await asyncio.wait([loading])
            return
        await _serve(loading.result(), settings, stop)


async def _serve(app: App, settings: Settings, stop: asyncio.Task[Any]) -> None:
    loop = asyncio.get_running_loop()
    background = [loop.create_task(work) for work in app.tasks]
    try:
        for server in app.servers:
            await server.start()
        _tune_collector()
        await asyncio.wait([stop, *background], return_when=asyncio.FIRST_COMPLETED)
        await _drain(app, settings)
        for task in background:
            if task.done():
                raise RuntimeError("a background task ended while the process served") from (
                    task.exception()
                )
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)


async def _drain(app: App, settings: Settings) -> None:
    _log.info("draining")
    for server in app.servers:
        await server.leave()
    await asyncio.sleep(settings.drain_delay_s)
    await asyncio.gather(*(server.stop(settings.drain_timeout_s) for server in app.servers))
    _log.info("drained")


def _tune_collector() -> None:
    """Exempts what was loaded from collections: walking it again and again makes the tail."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 1000)
