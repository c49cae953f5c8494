"""The replicas behind one target: resolve, watch their health, choose one.

gRPC itself looks a name up at most every 30 seconds and pins a channel to one address, so each
replica gets a channel of its own here, and a name is resolved again every few seconds and whenever
a replica is lost. A channel keeps the certificate that it was opened with, so when that changes
each replica gets another channel, which takes over once it serves.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import re
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final
from weakref import WeakSet

import grpc
from grpc_health.v1 import health_pb2

from meshkit import channels, names, telemetry, tls
from meshkit.breaker import Breaker, State
from meshkit.certificates import Identity
from meshkit.dispatch import DispatchStream
from meshkit.dispatch_streams import DispatchStreams
from meshkit.errors import StartError, Unavailable
from meshkit.tls import Certificate

RESOLVE_EVERY_S: Final = 5.0
FIRST_ANSWER_S: Final = 1.0
"""Longest that a client waits at its start for word of its replicas."""
_WATCH_BACKOFF_S: Final = (0.1, 2.0)
_RETIRE_LOOK_S: Final = 0.1
# What gRPC says where this side does not trust the other, and where the other hangs up at once.
_DISTRUST: Final = re.compile(
    "handshake failed|Hostname Verification|failed to connect.*Socket closed", re.IGNORECASE
)
_log = logging.getLogger(__name__)
_endpoints = telemetry.up_down_counter(
    names.ENDPOINTS, "{endpoint}", "Replicas of a target that report SERVING."
)
_known: WeakSet[Endpoints] = WeakSet()
telemetry.observed(
    names.BREAKERS,
    "{breaker}",
    "Circuit breakers of the replicas of a target, by state.",
    lambda: itertools.chain.from_iterable(each.breaker_states() for each in tuple(_known)),
)
telemetry.observed(
    names.OUTSTANDING,
    "{call}",
    "Calls to the replicas of a target that are not answered yet.",
    lambda: [each.outstanding() for each in tuple(_known)],
)


class Endpoint:
    """One replica: its channel, its dispatch stream, its health, and what is outstanding there."""

    def __init__(
        self,
        target: str,
        address: str,
        max_message_bytes: int,
        identity: Identity | None,
        server_name: str,
    ) -> None:
        self.address = address
        self.identity = identity
        self.outstanding = 0
        self.serving = False
        self.leaving = False
        """It has said that it serves no more, and may still do so for a while."""
        self.breaker = Breaker()
        self.asked = asyncio.Event()
        """Set once the replica has answered, or could not be reached, for the first time."""
        self.channel = channels.open_channel(
            address,
            max_message_bytes,
            tls.channel_credentials(identity) if identity else None,
            server_name,
        )
        self.stream = DispatchStream(self.channel, max_message_bytes)
        self.streams = DispatchStreams(self.channel)
        self._target = target
        self._distrust: str | None = None

    async def watch(self, changed: asyncio.Event) -> None:
        """Follows the replica's health until cancelled; sets `changed` at each change."""
        watch: grpc.aio.UnaryStreamMultiCallable[
            health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
        ] = self.channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        least_s, most_s = _WATCH_BACKOFF_S
        delay_s = least_s
        try:
            while True:
                try:
                    async for reply in watch(health_pb2.HealthCheckRequest()):
                        serving = reply.status == health_pb2.HealthCheckResponse.SERVING
                        self.leaving = not serving and (self.serving or self.leaving)
                        self._set_serving(serving)
                        self.asked.set()
                        changed.set()
                        delay_s = least_s
                        self._distrust = None
                except grpc.aio.AioRpcError as error:
                    self._note(error.details() or "")
                self.leaving = False
                self._set_serving(False)
                self.asked.set()
                changed.set()
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, not a secret
                delay_s = min(2 * delay_s, most_s)
        finally:
            self.leaving = False
            self._set_serving(False)

    def _note(self, cause: str) -> None:
        """Says why a watch ended; that one side does not trust the other, so that it is seen."""
        distrust = cause if self.identity and _DISTRUST.search(cause) else None
        if distrust and distrust != self._distrust:
            extra = {"target": self._target, "address": self.address}
            _log.warning(
                "no connection to the replica by TLS, one does not trust the other: %s",
                cause,
                extra=extra,
            )
        else:
            _log.debug("watch of %s ended: %s", self.address, cause)
        self._distrust = distrust

    @property
    def usable(self) -> bool:
        """Whether a call may be made to it now."""
        return self.serving and self.breaker.passes

    def _set_serving(self, serving: bool) -> None:
        if serving != self.serving:
            self.serving = serving
            _endpoints.add(1 if serving else -1, {names.TARGET: self._target})
            _log.info(
                "replica is %s",
                "serving" if serving else "not serving",
                extra={"target": self._target, "address": self.address},
            )

    async def close(self) -> None:
        """Ends the stream and the channel."""
        await self.stream.close()
        await self.streams.close()
        await self.channel.close()


class Endpoints:
    """The replicas of one target, kept current by a background task.

    Args:
        name: what the target is called in metrics and logs; from a closed set.
        target: `host:port`, several of them with commas between, or `dns:///name:port`, whose every
            address is a replica (a headless service on Kubernetes).
        max_message_bytes: the mesh's limit for public messages.
        certificate: shown to the replicas, whose own must be for the name in the target; None for
            calls in the clear.

    Raises:
        StartError: the target has another form.
    """

    def __init__(
        self,
        name: str,
        target: str,
        max_message_bytes: int,
        certificate: Certificate | None = None,
    ) -> None:
        self._name = name
        self._max_message_bytes = max_message_bytes
        self._certificate = certificate
        self._dns = target.startswith("dns:///")
        self._targets = [_parse(part) for part in target.removeprefix("dns:///").split(",")]
        self._endpoints: dict[str, Endpoint] = {}
        self._successors: dict[str, Endpoint] = {}
        self._watches: dict[Endpoint, asyncio.Task[None]] = {}
        self._server_names: dict[str, str] = {}
        self._retirements: dict[Endpoint, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        _known.add(self)

    async def __aenter__(self) -> Endpoints:
        await self._refresh()
        self._keeper = asyncio.create_task(self._keep())
        # So that the first call finds the replicas that are there.
        asked = [asyncio.create_task(endpoint.asked.wait()) for endpoint in self.all]
        if asked:
            _, unanswered = await asyncio.wait(asked, timeout=FIRST_ANSWER_S)
            for task in unanswered:
                task.cancel()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        for address in list(self._endpoints):
            await self._drop(address)
        retirements = list(self._retirements.values())
        for task in retirements:
            task.cancel()
        await asyncio.gather(*retirements, return_exceptions=True)

    @property
    def all(self) -> Sequence[Endpoint]:
        """Every replica that is known, serving or not."""
        return tuple(self._endpoints.values())

    def breaker_states(self) -> Iterator[tuple[float, Mapping[str, str]]]:
        """How many breakers are in each state, for the metric."""
        found = Counter(endpoint.breaker.state for endpoint in self.all)
        for state in State:
            yield found[state], {names.TARGET: self._name, names.BREAKER_STATE: state}

    def outstanding(self) -> tuple[float, Mapping[str, str]]:
        """How many calls are not answered yet, for the metric."""
        every = (*self.all, *tuple(self._retirements))
        return sum(endpoint.outstanding for endpoint in every), {names.TARGET: self._name}

    def others_fault_share(self, endpoint: Endpoint) -> float:
        """The mean share of faults in what the other replicas answer; 1 where nobody knows."""
        shares = [
            share
            for each in self.all
            if each is not endpoint and (share := each.breaker.fault_share) is not None
        ]
        return sum(shares) / len(shares) if shares else 1.0

    def choose(self, excluded: frozenset[str] = frozenset()) -> Endpoint:
        """The less busy one of two usable replicas taken at random.

        Where there is none, one that is leaving: its successor may serve already, and be known only
        when the name is next resolved.

        Source: Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001.

        Args:
            excluded: addresses that were tried already.

        Raises:
            Unavailable: no replica serves, or all breakers are open.
        """
        known = list(self._endpoints.values())
        if excluded:
            known = [each for each in known if each.address not in excluded]
        usable = [each for each in known if each.usable]
        if not usable:
            usable = [each for each in known if each.leaving and each.breaker.passes]
        if not usable:
            serving = any(endpoint.serving for endpoint in self._endpoints.values())
            state = "can be asked, its circuit breakers are open" if serving else "is serving"
            raise Unavailable(
                f"no replica of {self._name} {state}; try again in a moment", retry_delay_s=1.0
            )
        if len(usable) == 1:
            return usable[0]
        return min(random.sample(usable, 2), key=lambda e: e.outstanding)

    async def _keep(self) -> None:
        while True:
            try:
                async with asyncio.timeout(RESOLVE_EVERY_S):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            if self._dns:
                await self._refresh()
            if self._certificate:
                await self._renew(self._certificate.identity)

    async def _refresh(self) -> None:
        try:
            found = await self._resolve() if self._dns else _named(self._targets)
        except OSError as error:
            # What is known stays in use: a name server that is down must not take replicas away.
            _log.warning("can't resolve the target: %s", error, extra={"target": self._name})
            return
        self._server_names.update(found)
        for address in found.keys() - self._endpoints.keys():
            self._endpoints[address] = self._open(address)
        for address in self._endpoints.keys() - found.keys():
            # A replica that still serves may only be missing from one answer; one that left has
            # said so.
            if not (self._endpoints[address].serving or self._endpoints[address].leaving):
                await self._drop(address)

    async def _resolve(self) -> dict[str, str]:
        """The addresses of all replicas, each with the name that it was found by."""
        loop = asyncio.get_running_loop()
        answers = await asyncio.gather(
            *(loop.getaddrinfo(host, port, type=socket.SOCK_STREAM) for host, port in self._targets)
        )
        return {
            _join((str(address[0]), int(address[1]))): host
            for (host, _), answer in zip(self._targets, answers, strict=True)
            for *_, address in answer
        }

    async def _renew(self, identity: Identity) -> None:
        """Opens channels with another certificate, and has them take over as they serve.

        Until then the old ones stay: the replicas may know the change only later.
        """
        for address, old in list(self._endpoints.items()):
            if old.identity is identity:
                continue
            successor = self._successors.get(address)
            if successor is None or successor.identity is not identity:
                if successor is not None:
                    await self._close(successor)
                successor = self._successors[address] = self._open(address)
            if successor.serving or not old.serving:
                self._endpoints[address] = self._successors.pop(address)
                self._retirements[old] = asyncio.create_task(self._retire(old))

    async def _retire(self, endpoint: Endpoint) -> None:
        """Closes a replica's old channel once its calls are answered; each has a deadline."""
        try:
            await self._unwatch(endpoint)
            while endpoint.outstanding:  # noqa: ASYNC110  # counted where an event would cost
                await asyncio.sleep(_RETIRE_LOOK_S)
        finally:
            await endpoint.close()
            del self._retirements[endpoint]

    def _open(self, address: str) -> Endpoint:
        endpoint = Endpoint(
            self._name,
            address,
            self._max_message_bytes,
            self._certificate.identity if self._certificate else None,
            self._server_names[address],
        )
        self._watches[endpoint] = asyncio.create_task(endpoint.watch(self._changed))
        return endpoint

    async def _drop(self, address: str) -> None:
        if successor := self._successors.pop(address, None):
            await self._close(successor)
        await self._close(self._endpoints.pop(address))
        del self._server_names[address]

    async def _close(self, endpoint: Endpoint) -> None:
        await self._unwatch(endpoint)
        await endpoint.close()

    async def _unwatch(self, endpoint: Endpoint) -> None:
        watch = self._watches.pop(endpoint)
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


def _parse(part: str) -> tuple[str, int]:
    host, _, port = part.strip().rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise StartError(f"target {part!r} is not host:port; write it as 127.0.0.1:50061")
    return host.strip("[]"), int(port)


def _join(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _named(targets: Iterable[tuple[str, int]]) -> dict[str, str]:
    """The address of each target, with its host."""
    return {_join(target): target[0] for target in targets}
