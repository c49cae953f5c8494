"""How a mesh is: each of its processes, and what is wrong with the whole."""

import time
from dataclasses import dataclass

from mesh_cli import lifecycle, llm_state, readiness, supervisor
from mesh_cli.llm_state import Phase
from mesh_cli.settings import GATEWAY_HTTP_PORT, Site


@dataclass(frozen=True)
class Status:
    """What there is to show.

    Attributes:
        lines: a process each, then what there is to know.
        fault: what is wrong; None where nothing is.
    """

    lines: list[str]
    fault: str | None = None


def look(site: Site) -> Status:
    """Asks the supervisor, the gateway and the llm how they are.

    An llm that is on its way is a line, and one that has failed a fault.
    """
    states, fault = lifecycle.describe(site, passing_over=(llm_state.NAME,))
    record = supervisor.read_record(site)
    if record is None:
        return Status([], fault or lifecycle.DOWN)
    lines = []
    llm = None
    for state in states:
        name, since = state.name, f"for {time.time() - state.started:.0f} s" if state.pid else ""
        if state.program == llm_state.NAME:
            llm = llm_state.condition(site, record, state)
            name, since = llm.phase, f"for {llm.seconds:.0f} s"
        lines.append(f"{state.program:12} {name:10} {state.pid or '':<8} {since}".rstrip())
    if fault:
        return Status(lines, fault)
    port = record.ports[GATEWAY_HTTP_PORT]
    if waits_for := readiness.missing(port):
        return Status(lines, f"not ready: it waits for {waits_for}")
    lines.append(f"The mesh of {site.state} is up and ready: http://127.0.0.1:{port}")
    if llm is None or llm.line is None:
        return Status(lines)
    if llm.phase is Phase.FAILED:
        return Status(lines, llm.line)
    return Status([*lines, f"{llm.line[0].upper()}{llm.line[1:]}"])
