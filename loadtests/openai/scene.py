"""A gateway before a scripted llm that computes nothing, and a key that may call it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from gateway.scene import answers, make_key
from lab.load import Request
from lab.processes import ROOT, Process, free_ports, listens, process, python, redis_server

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
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        redis_port, llm_port, llm_admin, port, grpc_port, admin_port, nobody = free_ports(7)
        environment = {
            "PYTHONPATH": str(ROOT / "gateway" / "tests"),
            "MESH_LLM_GRPC_PORT": str(llm_port),
            "MESH_LLM_ADMIN_PORT": str(llm_admin),
            "MESH_GATEWAY_LLM_TARGET": f"127.0.0.1:{llm_port}",
            "MESH_GATEWAY_CLASSIFIER_TARGET": f"127.0.0.1:{nobody}",
            "MESH_GATEWAY_EMBEDDER_TARGET": f"127.0.0.1:{nobody}",
            "MESH_GATEWAY_HTTP_PORT": str(port),
            "MESH_GATEWAY_GRPC_PORT": str(grpc_port),
            "MESH_GATEWAY_ADMIN_PORT": str(admin_port),
            "MESH_GATEWAY_KEY_RATE": "1000000/s",
            "MESH_GATEWAY_KEY_TOKEN_RATE": _NEVER_REACHED,
            "MESH_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            "MESH_HASHING_KEY_PATH": str(folder / "hashing.key"),
            "MESH_STATE_PATH": str(folder),
            **settings,
        }
        redis = stack.enter_context(
            process([redis_server(), "--port", str(redis_port), "--save", ""])
        )
        redis.until(lambda: listens(redis_port), "Redis answers")
        key = make_key(environment)
        llm = stack.enter_context(process([python("gateway"), "-m", "llm_stand_in"], environment))
        gateway = stack.enter_context(
            process([python("gateway"), "-m", "mesh_gateway"], environment)
        )
        found = Scene(gateway, llm, port, key)
        gateway.until(lambda: answers(found.request("hello")), "the gateway answers")
        yield found
