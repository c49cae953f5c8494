"""A gateway before a scripted llm that computes nothing, and a key that may call it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from gateway.scene import answers
from lab.load import Request
from lab.mesh import surroundings
from lab.processes import ROOT, Process, free_ports, process, python

PATH: Final = "/v1/chat/completions"
WORDS: Final = 50
_NEVER_REACHED: Final = "100000000/s"


@dataclass(frozen=True)
class Scene:
    """What runs.

    Attributes:
        gateway: the process of the gateway.
        llm: the process of the scripted llm.
        port: of the gateway.
        key: that may call it.
    """

    gateway: Process
    llm: Process
    port: int
    key: str

    def request(self, script: str, **more: Any) -> Request:
        """A chat completion whose script the llm plays."""
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        return Request(f"http://127.0.0.1:{self.port}{PATH}", body(script, **more), headers)


def body(script: str, **more: Any) -> bytes:
    """The body of a chat completion."""
    messages = [{"role": "user", "content": script}]
    return json.dumps({"model": "llm", "messages": messages, "max_tokens": 4096, **more}).encode()


@contextmanager
def scene(**settings: str) -> Iterator[Scene]:
    """Runs Redis, the llm and the gateway inside, with limits of requests and of tokens.

    Args:
        settings: more of their environment.
    """
    llm_port, llm_admin = free_ports(2)
    environment = {
        "PYTHONPATH": str(ROOT / "gateway" / "tests"),
        "MESH_LLM_GRPC_PORT": str(llm_port),
        "MESH_LLM_ADMIN_PORT": str(llm_admin),
        "MESH_GATEWAY_LLM_TARGET": f"127.0.0.1:{llm_port}",
        "MESH_GATEWAY_KEY_TOKEN_RATE": _NEVER_REACHED,
        **settings,
    }
    with (
        surroundings(**environment) as around,
        process([python("gateway"), "-m", "llm_stand_in"], around.settings) as llm,
        process([python("gateway"), "-m", "mesh_gateway"], around.settings) as gateway,
    ):
        found = Scene(gateway, llm, around.port(), around.key)
        gateway.until(lambda: answers(found.request("hello")), "the gateway answers")
        yield found
