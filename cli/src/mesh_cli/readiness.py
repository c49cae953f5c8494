"""What a mesh on one machine waits for until it is ready, by the gateway's own word."""

import http.client
import json
from typing import Final

_CALL_TIMEOUT_S: Final = 5.0
# In the order of their start: the called before the caller.
SERVERS: Final = (
    ("classifier", "services/classifier"),
    ("embedder", "services/embedder"),
    ("gateway", "gateway"),
)


def missing(port: int) -> str | None:
    """What the mesh still waits for, by the gateway's own word; None when it is ready.

    It never waits for the llm, nor for what it does not run.
    """
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
    served = {name for name, _ in SERVERS}
    backends = {name: state for name, state in content["backends"].items() if name in served}
    states = backends | {"the key store": content.get("key_store")}
    return [name for name, state in states.items() if state != "ready"]
