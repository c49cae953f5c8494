"""Follows an alias while serving: the new version is loaded beside the old one, then takes over.

A call leases the model for as long as it lasts, so each answer is of one version, and the old model
goes once its last call has ended. A version that can't be served changes nothing but what is said
of it: the old one goes on.
"""

import asyncio
import contextlib
import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

from mesh.common.v1 import common_pb2
from meshkit import aliases, names, store, telemetry
from meshkit.aliases import BadAlias
from meshkit.errors import StartError
from meshkit.names import SwapOutcome
from meshkit.store import Version

POLL_EVERY_S: Final = 1.0
RETRY_EVERY_S: Final = 30.0
"""A refused version is tried again: it may still have been on its way from a mirror."""

_log = logging.getLogger(__name__)
_info = telemetry.up_down_counter(
    names.MODEL_INFO, "", "1 for the version of a model that is serving."
)
_swaps = telemetry.counter(
    names.MODEL_SWAPS, "{swap}", "Versions that an alias asked for, by what became of them."
)

M = TypeVar("M")
Load = Callable[[Version], AbstractAsyncContextManager[M]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A version that the alias names and that can't be served.

    Attributes:
        version: its name.
        reason: why, with the remedy.
        since: when it was first refused.
    """

    version: str
    reason: str
    since: datetime

    def to_proto(self) -> common_pb2.RefusedVersion:
        """The message of mesh.common.v1."""
        message = common_pb2.RefusedVersion(version=self.version, reason=self.reason)
        message.since.FromDatetime(self.since)
        return message


class Serving(Generic[M]):
    """One loaded version and the calls that use it.

    Attributes:
        version: what was loaded.
        model: what `load` made of it.
        since: from when on it answers.
    """

    def __init__(self, version: Version, model: M, resources: AsyncExitStack) -> None:
        self.version = version
        self.model = model
        self.since = datetime.now(UTC)
        self._resources = resources
        self._leases = 0
        self._unused = asyncio.Event()
        self._unused.set()
        self._attributes = {names.MODEL: version.model, names.MODEL_VERSION: version.name}
        _info.add(1, self._attributes)

    @contextlib.contextmanager
    def lease(self) -> Iterator[M]:
        """Keeps the model loaded inside."""
        self._leases += 1
        self._unused.clear()
        try:
            yield self.model
        finally:
            self._leases -= 1
            if not self._leases:
                self._unused.set()

    async def retire(self) -> None:
        """Waits for the calls that use the model and lets go of it; at once where cancelled."""
        _info.add(-1, self._attributes)
        try:
            await self._unused.wait()
        finally:
            await self._resources.aclose()


class Swap(Generic[M]):
    """The version that an alias names, ready to answer, whatever becomes of the alias.

    Use it as an async context manager, and run `watch` beside it.

    Args:
        home: the store's home folder (`BENTOML_HOME`).
        model: name of the model.
        alias: name of the alias to follow.
        pinned: a version to serve in place of the one that the alias names; then there is nothing
            to watch.
        load: loads and warms a version, as a context manager that lets go of it; raises StartError
            for one that can't be served. It must not block the loop.
    """

    def __init__(
        self, home: Path, model: str, alias: str, load: Load[M], *, pinned: str | None = None
    ) -> None:
        self._home = home
        self._model = model
        self._alias = alias
        self._load = load
        self._pinned = pinned
        self._serving: Serving[M] | None = None
        self._retry_at_s = 0.0
        self.refusal: Refusal | None = None
        """What the alias names and can't be served; None where all is well."""

    async def __aenter__(self) -> Self:
        self._serving = await self._enter(await asyncio.to_thread(self._first))
        return self

    def _first(self) -> Version:
        if self._pinned:
            return store.open_version(self._home, self._model, self._pinned)
        return store.resolve(self._home, self._model, self._alias)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        serving, self._serving = self._serving, None
        if serving is not None:
            await serving.retire()

    @property
    def serving(self) -> Serving[M]:
        """What answers now; lease it for a call."""
        if self._serving is None:
            raise RuntimeError("the swap is not entered")
        return self._serving

    async def watch(self) -> None:
        """Follows the alias until cancelled."""
        while True:
            await asyncio.sleep(POLL_EVERY_S)
            await self.check()

    async def check(self) -> None:
        """Looks once where the alias points, and moves there."""
        try:
            alias = await asyncio.to_thread(aliases.read, self._home, self._model, self._alias)
        except (BadAlias, OSError) as error:
            self._refuse("unknown", str(error))
            return
        if alias is None or alias.version == self.serving.version.name:
            self.refusal = None
            return
        refused = self.refusal is not None and self.refusal.version == alias.version
        if refused and asyncio.get_running_loop().time() < self._retry_at_s:
            return
        try:
            version = await asyncio.to_thread(
                store.open_version, self._home, self._model, alias.version
            )
            fresh = await self._enter(version)
        except StartError as error:
            self._refuse(alias.version, str(error))
            return
        await self._move(fresh)

    async def _enter(self, version: Version) -> Serving[M]:
        async with AsyncExitStack() as stack:
            model = await stack.enter_async_context(self._load(version))
            return Serving(version, model, stack.pop_all())

    async def _move(self, fresh: Serving[M]) -> None:
        old, self._serving = self.serving, fresh
        self.refusal = None
        _swaps.add(1, {names.MODEL: self._model, names.SWAP_OUTCOME: SwapOutcome.MOVED})
        _log.info(
            "moved to another version",
            extra={"model": self._model, "old": old.version.name, "new": fresh.version.name},
        )
        await old.retire()
        del old
        # What was loaded at the start is exempt from collections, cycles and all.
        gc.unfreeze()
        gc.collect()
        gc.freeze()

    def _refuse(self, version: str, reason: str) -> None:
        known = self.refusal
        first = known is None or (known.version, known.reason) != (version, reason)
        since = datetime.now(UTC) if known is None or first else known.since
        self.refusal = Refusal(version, reason, since)
        self._retry_at_s = asyncio.get_running_loop().time() + RETRY_EVERY_S
        _swaps.add(1, {names.MODEL: self._model, names.SWAP_OUTCOME: SwapOutcome.REFUSED})
        if first:
            _log.error(
                "can't serve the version that %s@%s names; the old one goes on: %s",
                self._model,
                self._alias,
                reason,
                extra={"version": version, "serving": self.serving.version.name},
            )
