"""Where the tests find a Kubernetes: a tool that starts one, or a context that is there already.

A tool is a program with the commands `up`, `load ARCHIVE...`, `exec COMMAND...` (where nodes can be
reached), `kubectl ...`, `kill NODE` and `down`.
"""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

TOOL: Final = "TEST_CLUSTER"
CONTEXT: Final = "TEST_KUBE_CONTEXT"
IMAGE_LOADER: Final = "TEST_IMAGE_LOADER"
HOW: Final = f"""there is no Kubernetes to test on. Either
  - name a tool that starts one:        {TOOL}=/path/to/cluster
  - or a context of kubectl, with a command that brings an image archive to its nodes:
        kind create cluster --name mesh --config tests/cluster/kind.yaml
        {CONTEXT}=kind-mesh {IMAGE_LOADER}='kind load image-archive --name mesh' \\
        TEST_MIRROR=/srv/mesh-mirror make test-cluster
tests/cluster/README.md has the rest"""
_PATIENCE_S: Final = 900
_NODE_PATIENCE_S: Final = 15.0
_ALL_READY: Final = ("--for=condition=Ready", "node", "--all")


class NoCluster(Exception):
    """The environment names no cluster."""


class CommandFailed(Exception):
    """A command ended with another exit status than 0; the message has what it said."""


class Cluster(Protocol):
    """A Kubernetes with two nodes or more."""

    kills: bool
    """Whether it can kill a node."""

    def start(self) -> None:
        """Starts what does not run, and waits until every node is ready."""

    def end(self) -> None:
        """Leaves it as `start` found it."""

    def inside(self, *command: str) -> list[str]:
        """The command, as it runs where nodes are reached and the cluster is found."""

    def load(self, archive: Path) -> None:
        """Brings the images of an archive (`docker save`) to every node."""

    def kill(self, node: str) -> None:
        """The node is gone, with its network and all that runs there."""


class ToolCluster:
    """A cluster that a tool starts on this machine.

    Args:
        tool: the program.
    """

    kills = True

    def __init__(self, tool: str) -> None:
        self._tool = tool
        self._started = False
        self._killed = False

    def start(self) -> None:
        """Starts it, or what of it does not run.

        Raises:
            NoCluster: it does not become whole.
        """
        try:
            run([self._tool, "kubectl", "get", "--raw", "/readyz"])
        except CommandFailed:
            self._started = True
        else:
            if not self._forgets_old_volumes() and self._is_whole():
                return
        for verbs in (["up"], ["up"], ["down", "up"]):
            for verb in verbs:
                run([self._tool, verb])
            if self._is_whole():
                return
        raise NoCluster(f"{self._tool} up does not make every node whole, not even after its down")

    def end(self) -> None:
        """Ends it, if `start` started it; else brings back what was killed."""
        if self._started:
            run([self._tool, "down"])
        elif self._killed:
            self.start()

    def inside(self, *command: str) -> list[str]:
        """The command, in the network of a node."""
        if command[0] == "kubectl":
            return [self._tool, *command]
        return [self._tool, "exec", *command]

    def load(self, archive: Path) -> None:
        """Imports the images."""
        run([self._tool, "load", str(archive)])

    def kill(self, node: str) -> None:
        """Ends the node's kubelet, containers and network at once."""
        self._killed = True
        run([self._tool, "kill", node])

    def _forgets_old_volumes(self) -> bool:
        """Removes volumes whose claim is gone: `up` makes them anew, and nobody else could."""
        volumes = objects(run([self._tool, "kubectl", "get", "pv", "--output=json"]))
        old = [each for each in volumes if each["status"]["phase"] == "Released"]
        for volume in old:
            run([self._tool, "kubectl", "delete", "pv", volume["metadata"]["name"]])
        return bool(old)

    def _is_whole(self) -> bool:
        """Whether within some seconds each node is ready and forwards to Services.

        An `up` beside running nodes may end what forwards there (kube-proxy leaves when its
        configuration is written again), and only the next `up` starts it.
        """
        give_up_at = time.monotonic() + _NODE_PATIENCE_S
        while time.monotonic() < give_up_at:
            try:
                run([self._tool, "kubectl", "wait", *_ALL_READY, "--timeout=1s"])
                for node in objects(run([self._tool, "kubectl", "get", "nodes", "--output=json"])):
                    forwarder = f"/api/v1/nodes/{node['metadata']['name']}:10256/proxy/healthz"
                    run([self._tool, "kubectl", "get", "--raw", forwarder])
            except CommandFailed:
                time.sleep(1)
            else:
                return True
        return False


class ContextCluster:
    """A cluster that somebody else has started; nothing says how to kill a node of it.

    Args:
        context: its name for kubectl.
        loader: the command that brings an image archive to its nodes; its last argument follows.
    """

    kills = False

    def __init__(self, context: str, loader: str) -> None:
        self._context = context
        self._loader = shlex.split(loader)

    def start(self) -> None:
        """Waits until every node is ready."""
        run(self.inside("kubectl", "wait", *_ALL_READY))

    def end(self) -> None:
        """Leaves it as it is."""

    def inside(self, *command: str) -> list[str]:
        """The command, for this context."""
        option = {"kubectl": "--context", "helm": "--kube-context"}.get(Path(command[0]).name)
        return [command[0], *([f"{option}={self._context}"] if option else []), *command[1:]]

    def load(self, archive: Path) -> None:
        """Runs the loader."""
        run([*self._loader, str(archive)])

    def kill(self, node: str) -> None:
        """Can't."""
        raise NotImplementedError(node)


def found(environment: Mapping[str, str] = os.environ) -> Cluster:
    """The cluster that the environment names.

    Raises:
        NoCluster: it names none; the message says what to do.
    """
    if tool := environment.get(TOOL):
        return ToolCluster(str(Path(tool).resolve()))
    if context := environment.get(CONTEXT):
        loader = environment.get(IMAGE_LOADER)
        if not loader:
            raise NoCluster(f"{CONTEXT} is set and {IMAGE_LOADER} is not; {HOW}")
        return ContextCluster(context, loader)
    raise NoCluster(HOW)


def run(command: list[str], text: str | None = None, timeout_s: float = _PATIENCE_S) -> str:
    """What a command writes to its output.

    Args:
        command: with its arguments.
        text: its input.
        timeout_s: most seconds that it may take.

    Raises:
        CommandFailed: its exit status is not 0.
    """
    ran = subprocess.run(
        command,
        input=text or "",
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if ran.returncode:
        said = (ran.stderr + ran.stdout)[-4000:]
        raise CommandFailed(f"{shlex.join(command)} ended with {ran.returncode}: {said}")
    return ran.stdout


def objects(listed: str) -> list[dict[str, Any]]:
    """The objects of a list that kubectl wrote as JSON."""
    items: list[dict[str, Any]] = json.loads(listed)["items"]
    return items
