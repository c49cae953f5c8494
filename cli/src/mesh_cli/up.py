"""`mesh up`: from a fresh checkout to a mesh that answers, and the line that shows it."""

import json
import shlex
import sys
import time

from mesh_cli import (
    development_key,
    environments,
    lifecycle,
    llm_start,
    llm_state,
    models,
    models_mirror,
    readiness,
    redis_server,
    supervisor,
)
from mesh_cli.readiness import SERVERS
from mesh_cli.rooms import Environment, room
from mesh_cli.settings import GATEWAY_ADMIN_PORT, GATEWAY_GRPC_PORT, GATEWAY_HTTP_PORT, Site
from mesh_cli.supervisor import Program, Record
from meshkit.hashing_keys import HashingKeys

# The models that a mesh can't be without, with the options of their quickest training.
_MODELS = (("classifier", ("--recipe", "quick")), ("embedder", ()))
# Nobody waits so long but on a machine that has too much to do.
_READY_TIMEOUT_S = 300.0
_TEXTS = ["A quiet film that stays with you.", "The plot goes nowhere, slowly."]


def run(site: Site) -> str:
    """Installs what is missing, makes a model where there is none, starts, waits until ready.

    Returns:
        What to tell the user: where the mesh is, and a curl line that works.

    Raises:
        Failure: something that the user can mend stands in the way; the text says what.
    """
    began = time.monotonic()
    serving = [Environment(room(name)) for _, name in SERVERS]
    with lifecycle.exclusive(site):
        # Said before minutes of installing and training, not after.
        lifecycle.check_startable(site)
        environments.sync_all(serving)
        for model, options in _MODELS:
            if not models.has_production(site, model):
                models_mirror.bring_production(site, model)
            if not models.has_production(site, model):
                models.train(site, model, options)
        HashingKeys.load_or_create(site.hashing_key)
        _start(site, serving)
        key = development_key.ensure(site)
    seconds = time.monotonic() - began
    address = f"http://127.0.0.1:{site.ports[GATEWAY_HTTP_PORT]}"
    return (
        f"\nThe mesh is up after {seconds:.0f} s: {address} (its API: {address}/docs, to try it: "
        f"{address}/playground, gRPC: "
        f"127.0.0.1:{site.ports[GATEWAY_GRPC_PORT]}, its metrics: "
        f"http://127.0.0.1:{site.ports[GATEWAY_ADMIN_PORT]}/metrics).\n"
        "make status, make logs and make down look after it. Try it:\n\n"
        f"{curl_line(address, key)}\n\n{_of_llm(site)}"
    )


def _of_llm(site: Site) -> str:
    """What there is to know of the llm, which nothing has waited for."""
    if not site.llm.served:
        return f"The llm {site.llm.why}."
    record = supervisor.read_record(site)
    found = llm_state.of_mesh(site, record) if record else None
    if found is None or found.line is None:
        return f"The llm is ready; it {site.llm.why}."
    return f"{found.line[0].upper()}{found.line[1:]}. Nothing waits for it; it {site.llm.why}."


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
    for name, folder in SERVERS:
        if name == "gateway" and site.llm.served:
            # It installs what it needs and then becomes the service, so nothing waits for it.
            starts = (sys.executable, "-m", "mesh_cli.llm_start")
            found.append(Program(llm_state.NAME, starts, site.stop_wait_s(llm_state.NAME)))
        python = str(Environment(room(folder)).python)
        found.append(Program(name, (python, "-m", f"mesh_{name}"), site.stop_wait_s(name)))
    return found


def _start(site: Site, serving: list[Environment]) -> None:
    wanted = programs(site)
    installed = [environments.identity(environment) for environment in serving]
    if site.llm.served:
        installed.append(environments.wanted_identity(llm_start.serving(site)))
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
    lifecycle.wait_ready(
        site,
        record,
        lambda: readiness.missing(port),
        timeout_s=_READY_TIMEOUT_S,
        passing_over=(llm_state.NAME,),
    )
