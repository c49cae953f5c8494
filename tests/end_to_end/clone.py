"""A checkout of its own: make in it, and the processes of its mesh."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

PORTS = (
    "MESH_GATEWAY_HTTP_PORT",
    "MESH_GATEWAY_GRPC_PORT",
    "MESH_GATEWAY_ADMIN_PORT",
    "MESH_CLASSIFIER_GRPC_PORT",
    "MESH_CLASSIFIER_ADMIN_PORT",
    "MESH_EMBEDDER_GRPC_PORT",
    "MESH_EMBEDDER_ADMIN_PORT",
    "MESH_LLM_GRPC_PORT",
    "MESH_LLM_ADMIN_PORT",
    "MESH_REDIS_PORT",
)
# What shows each process of a mesh in its command line.
_PROGRAMS = (
    *("supervisord", "redis-server", "mesh_classifier", "mesh_embedder", "mesh_gateway"),
    *("mesh_llm", "mesh_cli.llm_start"),
)
# Generous: what is measured is that it works; the time it takes is printed, not asserted.
LONGEST_COMMAND_S = 2700


@dataclass(frozen=True)
class Clone:
    """A checkout with its own state folder and ports."""

    folder: Path
    state: Path
    variables: dict[str, str]

    @property
    def address(self) -> str:
        """Where its gateway listens."""
        return f"http://127.0.0.1:{self.variables['MESH_GATEWAY_HTTP_PORT']}"

    def make(self, target: str, *, status: int = 0) -> str:
        """Runs a make target; its output, once it has ended with this exit status."""
        return self.run("make", "--no-print-directory", target, status=status)

    def run(self, *command: str, status: int = 0) -> str:
        """Runs a command in the checkout; its output, once it has failed or not as `status` is."""
        ran = subprocess.run(
            command,
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_COMMAND_S,
            check=False,
        )
        # pytest shows it when a test fails.
        print(f"$ {' '.join(command)}\n{ran.stdout}")  # noqa: T201
        assert (ran.returncode != 0) == (status != 0), ran.stdout
        return ran.stdout

    def processes(self) -> dict[str, psutil.Process]:
        """The processes that belong to this mesh, by what they are."""
        found = {}
        for process in psutil.process_iter():
            try:
                if process.environ().get("MESH_STATE_PATH") != str(self.state):
                    continue
                command = " ".join(process.cmdline())
            except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
            for name in _PROGRAMS:
                if name in command:
                    found[name] = process
        return found
