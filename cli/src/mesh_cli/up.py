"""`mesh up`: from a fresh checkout to a mesh that answers, and the line that shows it."""

import http.client
import json
import shlex
import time

from mesh_cli import (
    development_key,
    environments,
    lifecycle,
    models,
    models_mirror,
    redis_server,
    supervisor,
)
from mesh_cli.rooms import Environment, room
from mesh_cli.settings import GATEWAY_ADMIN_PORT, GATEWAY_GRPC_PORT, GATEWAY_HTTP_PORT, Site
from mesh_cli.supervisor import Program, Record
from meshkit.hashing_keys import HashingKeys

# In the order of their start: the called before the caller.
_SERVERS = (("classifier", "services/classifier"), ("gateway", "gateway"))
_MODEL = "classifier"
_READY_TIMEOUT_S = 120.0
_CALL_TIMEOUT_S = 5.0
_TEXTS = ["A quiet film that stays with you.", "The plot goes nowhere, slowly."]


def run(site: Site) -> str:
    """Installs what is missing, makes a model where there is none, starts, waits until ready.

    Returns:
        What to tell the user: where the mesh is, and a curl line that works.

    Raises:
        Failure: something that the user can mend stands in the way; the text says what.
    """
    began = time.monotonic()
    serving = [Environment(room(name)) for _, name in _SERVERS]
    with lifecycle.exclusive(site):
        # Said before minutes of installing and training, not after.
        lifecycle.check_startable(site)
        environments.sync_all(serving)
        if not models.has_production(site, _MODEL):
            models_mirror.bring_production(site, _MODEL)
        if not models.has_production(site, _MODEL):
            models.train(site, _MODEL, ("--recipe", "quick"))
        HashingKeys.load_or_create(site.hashing_key)
        _start(site, serving)
        key = development_key.ensure(site)
    seconds = time.monotonic() - began
    address = f"http://127.0.0.1:{site.ports[GATEWAY_HTTP_PORT]}"
    return (
        f"\nThe mesh is up after {seconds:.0f} s: {address} (its API: {address}/docs, gRPC: "
        f"127.0.0.1:{site.ports[GATEWAY_GRPC_PORT]}, its metrics: "
        f"http://127.0.0.1:{site.ports[GATEWAY_ADMIN_PORT]}/metrics).\n"
        "make status, make logs and make down look after it. Try it:\n\n"
        f"{curl_line(address, key)}\n"
    )


def curl_line(address: str, key: str) -> str:
    """A line for a shell that classifies two texts."""
    return shlex.join(
        [
            *("curl", "-sS", f"{address}/v1/classify"),
            *("-H", f"Authorization: Bearer {key}", "-H", "Content-Type: application/json"),
            *("-d", json.dumps({"texts": _TEXTS})),
        ]
    )


def programs(site: Site) -> list[Program]:
    """What a mesh runs: Redis where none is named, the services, the gateway.

    Raises:
        Failure: the Redis that is named does not answer, or none can be installed.
    """
    found = []
    if site.redis_url is None:
        found.append(redis_server.program(site))
    else:
        redis_server.check_reachable(site.redis_url)
    for name, folder in _SERVERS:
        python = str(Environment(room(folder)).python)
        found.append(Program(name, (python, "-m", f"mesh_{name}"), site.stop_wait_s(name)))
    return found


def _start(site: Site, serving: list[Environment]) -> None:
    wanted = programs(site)
    installed = [environments.identity(environment) for environment in serving]
    mark = supervisor.fingerprint(site, wanted, installed)
    record = lifecycle.running(site, mark)
    if record:
        _wait(site, record)
        return
    record = lifecycle.start(site, wanted, mark)
    try:
        _wait(site, record)
    except BaseException:  # also an interrupt: half a mesh is of no use, and would hold its ports
        lifecycle.stop(site)
        raise


def _wait(site: Site, record: Record) -> None:
    port = site.ports[GATEWAY_HTTP_PORT]
    lifecycle.wait_ready(site, record, lambda: missing(port), timeout_s=_READY_TIMEOUT_S)


def missing(port: int) -> str | None:
    """What the mesh still waits for, by the gateway's own word; None when it is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_CALL_TIMEOUT_S)
    try:
        connection.request("GET", "/ready")
        answer = connection.getresponse()
        content = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError):
        return "the gateway"
    finally:
        connection.close()
    if answer.status != http.client.OK:
        return "the gateway"
    return ", ".join(_not_ready(content)) or None


def _not_ready(content: object) -> list[str]:
    """What is not ready, by the body of the gateway's /ready."""
    if not isinstance(content, dict) or not isinstance(content.get("backends"), dict):
        return ["the gateway"]
    states = content["backends"] | {"the key store": content.get("key_store")}
    return [name for name, state in states.items() if state != "ready"]
