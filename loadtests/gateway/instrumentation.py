"""What measuring a request costs in microseconds of CPU: ours, and what OpenTelemetry has ready.

Within one process and without sockets, since a request over them takes hundreds of microseconds and
differs by tens from run to run. A request here enters the gateway's outermost middleware, makes one
call, and is answered; or it is a call that a service answers. All ways do the same but for the
measurement, and take turns; a way's cost is its time less that of `none` in the same turn. On a
machine with other work the fastest turns say most ("undisturbed"); in brackets are quartiles. 1% of
the traces are sampled and go to an exporter that throws them away; metrics are kept and not read.
`log` is ours with the access log's line.

    gateway/.venv/bin/python loadtests/gateway/instrumentation.py [--requests N] [--turns N]

`stock` is measured where it can be imported; it is no dependency of anything here:

    gateway/.venv/bin/python -m pip install --no-deps --target DIRECTORY asgiref wrapt packaging \
        opentelemetry-instrumentation==0.66b2 opentelemetry-util-http==0.66b2 \
        opentelemetry-instrumentation-asgi==0.66b2 opentelemetry-instrumentation-grpc==0.66b2
    PYTHONPATH=DIRECTORY gateway/.venv/bin/python loadtests/gateway/instrumentation.py
"""

import argparse
import asyncio
import gc
import importlib
import importlib.util
import io
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import grpc
from opentelemetry import metrics, trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mesh_gateway.access_log import AccessLog
from mesh_gateway.exchange import Exchange
from mesh_gateway.middleware import RequestIds
from mesh_gateway.observe import Observe, Observer, timing
from meshkit import context, deadline, spans
from meshkit.client import Client
from meshkit.deadline import Deadline
from meshkit.interceptors import Call, Handler, observe

RATIO = 0.01
METHOD = "mesh.classifier.v1.ClassifierService/Classify"
PATH = "/v1/classify"
ANSWER = b'{"results":[]}'
LOG_EVERY = 1000
ROUND_EVERY = 32
WARMING_TURNS = 3

Request = Callable[[], Awaitable[None]]
CallService = Callable[[], Awaitable[bytes]]


class Nowhere(SpanExporter):
    """Throws spans away."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Takes spans and forgets them."""
        return SpanExportResult.SUCCESS


class LoopbackClient(Client):
    """A client whose service answers at once."""

    async def _call_any(
        self, method: str, payload: bytes, metadata: Mapping[str, str], limit: Deadline
    ) -> bytes:
        return payload


class Timed:
    """What `Observe` does for the caller and not for us: `server-timing`, in every way here."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        exchange = Exchange.of(scope)

        async def timed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message.get("headers", ()), timing(exchange)]
            await send(message)

        await self._app(scope, receive, timed_send)


def requests_over_http(stock: bool) -> Iterator[tuple[str, Request]]:
    """Ways to answer a request over HTTP that makes one call."""
    client = LoopbackClient("classifier", "127.0.0.1:50061", max_message_bytes=1)

    async def plain_call() -> bytes:
        limit = deadline.current() or Deadline.after(1)
        metadata = context.to_metadata()
        return await deadline.enforce(client._call_any(METHOD, b"", metadata, limit))

    async def own_call() -> bytes:
        return await client.call(METHOD, b"")

    app = application(own_call)
    log = AccessLog(2 * LOG_EVERY, io.BytesIO())
    yield "none", asking(RequestIds(Timed(application(plain_call))))
    yield "own", asking(RequestIds(Observe(app, observer=Observer(None))))
    yield "log", asking(RequestIds(Observe(app, observer=Observer(log))), log)
    if stock:
        asgi: Any = importlib.import_module("opentelemetry.instrumentation.asgi")
        stock_app = application(stock_call(plain_call))
        yield "stock", asking(RequestIds(Timed(asgi.OpenTelemetryMiddleware(stock_app))))


def application(call_service: CallService) -> ASGIApp:
    """Makes one call and answers."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = SimpleNamespace(path=PATH)
        with deadline.scope(Deadline.after(10)):
            await call_service()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": ANSWER})

    return app


def asking(app: ASGIApp, log: AccessLog | None = None) -> Request:
    """Asks an application, as a server does; the log is emptied now and then, as by its thread."""
    headers = [
        (b"host", b"127.0.0.1:8080"),
        (b"user-agent", b"python-httpx/0.28.1"),
        (b"accept", b"*/*"),
        (b"authorization", b"Bearer something"),
        (b"content-type", b"application/json"),
        (b"content-length", b"48"),
    ]

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        pass

    async def ask() -> None:
        scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "method": "POST",
            "path": PATH,
            "raw_path": PATH.encode(),
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8080),
        }
        await app(scope, receive, send)
        if log is not None and len(log._waiting) >= LOG_EVERY:
            log._waiting.clear()

    return ask


def stock_call(call_service: CallService) -> CallService:
    """The call behind the interceptor that OpenTelemetry puts before a channel."""
    instrumentation: Any = importlib.import_module("opentelemetry.instrumentation.grpc")
    interceptor = instrumentation.aio_client_interceptors()[0]
    details = grpc.aio.ClientCallDetails(f"/{METHOD}", 10.0, None, None, None)

    class Answered:
        """As much of a call as the interceptor asks for."""

        async def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.OK

        async def details(self) -> str:
            return ""

        def add_done_callback(self, callback: Callable[[object], None]) -> None:
            callback(self)

    async def begin(details: object, request: object) -> Answered:
        await call_service()
        return Answered()

    async def call() -> bytes:
        await interceptor.intercept_unary_unary(begin, details, b"")
        return b""

    return call


def calls_of_a_service(stock: bool) -> Iterator[tuple[str, Request]]:
    """Ways to answer a call from the gateway, whose trace is not sampled."""
    metadata = {
        "x-request-id": "0123456789abcdef0123456789abcdef",
        "x-mesh-hops": "1",
        "x-mesh-tenant": "shop",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02",
    }
    incoming = Call(METHOD, metadata, Deadline.after(3600))

    async def answer(call: Call, payload: bytes) -> bytes:
        return payload

    async def plain(call: Call, payload: bytes) -> bytes:
        with context.scope(context.from_metadata(call.metadata)):
            return await answer(call, payload)

    yield "none", calling(plain, incoming)
    yield "own", calling(observe(answer), incoming)
    if stock:
        yield "stock", stock_service(plain, incoming)


def calling(handler: Handler[bytes], call: Call) -> Request:
    """Calls a handler."""

    async def ask() -> None:
        await handler(call, b"")

    return ask


def stock_service(handler: Handler[bytes], call: Call) -> Request:
    """The handler behind the interceptor that OpenTelemetry puts into a server."""
    instrumentation: Any = importlib.import_module("opentelemetry.instrumentation.grpc")
    interceptor = instrumentation.aio_server_interceptor()

    class Pair(tuple[str, str]):
        """Metadata as a server's context has it: a pair with names."""

        key = property(lambda self: self[0])
        value = property(lambda self: self[1])

    servicer_context = SimpleNamespace(
        invocation_metadata=lambda: tuple(Pair(each) for each in call.metadata.items()),
        peer=lambda: "ipv4:127.0.0.1:50000",
    )
    details = SimpleNamespace(method=f"/{METHOD}", invocation_metadata=())

    async def behave(request: bytes, context: object) -> bytes:
        return await handler(call, request)

    async def find(_: object) -> Any:
        return grpc.unary_unary_rpc_method_handler(behave)

    async def ask() -> None:
        found = await interceptor.intercept_service(find, details)
        await found.unary_unary(b"", servicer_context)

    return ask


async def measure(title: str, ways: Mapping[str, Request], requests: int, turns: int) -> None:
    """Lets the ways take turns, and prints what each costs over the first, which is `none`."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(-WARMING_TURNS, turns):
        for name, ask in ways.items():
            each_us = await time_us(ask, requests)
            if turn >= 0:
                took[name].append(each_us)
    base = took["none"]
    sys.stdout.write(
        f"{title}: {statistics.median(base):.1f} us without measurement, {min(base):.1f} at best\n"
    )
    for name, mine in took.items():
        if name != "none":
            cost = quartiles([one - bare for one, bare in zip(mine, base, strict=True)])
            ratio = quartiles([one / bare for one, bare in zip(mine, base, strict=True)])
            sys.stdout.write(
                f"  {name:5}  {min(mine) - min(base):6.1f} us a request undisturbed, median "
                f"{cost[1]:.1f} ({cost[0]:.1f} to {cost[2]:.1f}); ratio {ratio[1]:.2f} "
                f"({ratio[0]:.2f} to {ratio[2]:.2f})\n"
            )


async def time_us(ask: Request, requests: int) -> float:
    """Microseconds of CPU that a request takes."""
    gc.collect()
    began_s = time.process_time()
    for number in range(requests):
        await ask()
        if number % ROUND_EVERY == 0:
            # The loop goes round, and forgets the timers of what is over.
            await asyncio.sleep(0)
    return (time.process_time() - began_s) / requests * 1e6


def quartiles(values: Sequence[float]) -> list[float]:
    """The lower quartile, the median and the upper quartile."""
    return statistics.quantiles(values, n=4)


def start() -> None:
    """Sets up traces and metrics, as `meshkit.telemetry` does."""
    processor = BatchSpanProcessor(Nowhere())
    sampler = ParentBased(TraceIdRatioBased(RATIO))
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)
    reader = PrometheusMetricReader(scope_info_enabled=False)
    metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
    spans.export_to(spans.Export(RATIO, processor, Resource.get_empty()))
    # As in a process that serves.
    gc.freeze()
    gc.set_threshold(10_000, 50, 1000)


async def main(arguments: argparse.Namespace) -> None:
    """Measures both ends."""
    start()
    stock = importlib.util.find_spec("opentelemetry.instrumentation") is not None
    ends = {
        "gateway, a request with one call": requests_over_http(stock),
        "service, a call": calls_of_a_service(stock),
    }
    for title, ways in ends.items():
        await measure(title, dict(ways), arguments.requests, arguments.turns)
    if not stock:
        sys.stdout.write("stock is not installed; the head of this file says how\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The cost of measuring a request.")
    parser.add_argument("--requests", type=int, default=200, help="of each way in a turn")
    parser.add_argument("--turns", type=int, default=200)
    asyncio.run(main(parser.parse_args()))
