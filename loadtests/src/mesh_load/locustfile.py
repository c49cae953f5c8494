"""The load, for locust: who asks, in which steps, and what is kept of the answers."""

import json
import random
import ssl
import time
from collections.abc import Mapping
from typing import Any, Final

import gevent
from locust import LoadTestShape, constant_throughput, events, task
from locust.contrib.fasthttp import FastHttpUser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from mesh_load.grpc_client import GrpcClient
from mesh_load.profile import Ask, kinds
from mesh_load.settings import Settings
from mesh_load.steps import Plan
from mesh_load.tally import Tally
from mesh_load.texts import Texts

ASKS_EVERY_S: Final = 2
"""Each caller: answers may take so long before fewer requests are asked than planned."""
TIMEOUT_S: Final = 10.0

settings = Settings.load()
tally = Tally()
plan = Plan(settings.rates_per_s, settings.step_s, tally)


class Caller(FastHttpUser):
    """Asks for something of the mix every few seconds, over a connection of its own."""

    host = settings.url
    insecure = settings.url.startswith("http:")
    network_timeout = TIMEOUT_S
    connection_timeout = TIMEOUT_S
    wait_time = constant_throughput(1 / ASKS_EVERY_S)
    default_headers = {  # noqa: RUF012  # as locust names it
        "authorization": f"Bearer {settings.key}",
        "content-type": "application/json",
    }
    _mix = kinds(grpc=settings.grpc_url is not None)
    _grpc: GrpcClient | None = None

    @staticmethod
    def ssl_context_factory() -> ssl.SSLContext:
        """Checks the gateway's certificate."""
        return ssl.create_default_context(cafile=settings.ca_path)

    def on_start(self) -> None:
        """Waits a little, so that callers do not ask at the same moment."""
        self._texts = Texts(random.getrandbits(64))
        gevent.sleep(random.uniform(0, ASKS_EVERY_S))  # noqa: S311  # no secret

    @task
    def ask(self) -> None:
        """Asks for one thing."""
        shares = [kind.share for kind in self._mix]
        (kind,) = random.choices(self._mix, shares)  # noqa: S311  # no secret
        if kind.name.startswith("gRPC"):
            self._client().classify(kind.name, kind.some(self._texts))
        else:
            self._post(kind.name, kind.ask(self._texts))

    def _post(self, kind: str, ask: Ask) -> None:
        with self.client.post(ask.path, data=ask.body, name=kind, catch_response=True) as answer:
            if answer.status_code == ask.status:
                answer.success()
            elif answer.status_code:
                answer.failure(f"HTTP {answer.status_code} {_reason(answer.content)}".strip())
            else:
                answer.failure(type(answer.error).__name__)

    def _client(self) -> GrpcClient:
        """One for all callers of a process, made in it: gRPC does not survive a fork."""
        if Caller._grpc is None:
            Caller._grpc = GrpcClient(settings, self.environment, TIMEOUT_S)
        return Caller._grpc


class Steps(LoadTestShape):
    """More and more requests a second, in steps."""

    def tick(self) -> tuple[int, float] | None:
        """How many callers there are to be now, and how many of them begin a second."""
        rate = plan.rate_at(time.time(), self._busiest_cpu())
        if rate is None:
            return None
        callers = rate * ASKS_EVERY_S
        return callers, callers

    def _busiest_cpu(self) -> float:
        if isinstance(self.runner, MasterRunner):
            return max((each.cpu_usage for each in self.runner.clients.values()), default=0) / 100
        return self.runner.current_cpu_usage / 100 if self.runner else 0.0


def _reason(content: bytes | None) -> str:
    """The reason in a problem, which says more than its status."""
    try:
        found = json.loads(content or b"")
    except ValueError:
        return ""
    return str(found.get("reason", "")) if isinstance(found, dict) else ""


def _record(name: str, response_time: float, exception: object, **_: Any) -> None:
    error = None if exception is None else str(exception)
    tally.record(int(time.time()), name, response_time, error)


def _give(client_id: str, data: dict[str, Any]) -> None:
    data["answers"] = tally.take()


def _take(client_id: str, data: Mapping[str, Any]) -> None:
    tally.add(data["answers"])


def _write(environment: Environment, **_: Any) -> None:
    if not isinstance(environment.runner, WorkerRunner):
        settings.output_path.mkdir(parents=True, exist_ok=True)
        found = json.dumps([step.to_json() for step in plan.found])
        (settings.output_path / "steps.json").write_text(found)


# Locust's hooks have no types.
_hooks: Any = events
_hooks.request.add_listener(_record)
_hooks.report_to_master.add_listener(_give)
_hooks.worker_report.add_listener(_take)
_hooks.test_stop.add_listener(_write)
