"""Images and containers of the mesh, as somebody with Docker has them.

Containers share this machine's network, so a test needs no other; everything else is as on a
cluster: another user, a file system that can't be written to, and no capability.
"""

import json
import os
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from real_mesh import PATIENCE_S, ROOT

TAG: Final = "images-test"
_BUILD_S: Final = 3600.0
_HARDENED: Final = (
    *("--network", "host", "--read-only", "--tmpfs", "/tmp:mode=1777"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)


def docker(*arguments: str, timeout_s: float = PATIENCE_S) -> str:
    """What a command of Docker writes.

    Raises:
        AssertionError: it failed.
    """
    ran = attempt(*arguments, timeout_s=timeout_s)
    assert ran.returncode == 0, f"docker {' '.join(arguments)}: {ran.stdout}{ran.stderr}"
    return ran.stdout


def attempt(*arguments: str, timeout_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
    """Runs a command of Docker to its end, whatever that is."""
    return subprocess.run(
        ["docker", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def is_running() -> bool:
    """Whether Docker's daemon answers."""
    try:
        return attempt("version").returncode == 0
    except FileNotFoundError:
        return False


def build(*names: str) -> None:
    """Builds images as a user does, with the network of this machine.

    Args:
        names: of the images; where there is none, all but what takes gigabytes.

    Raises:
        AssertionError: it could not be built; the end of the builder's words says why.
    """
    base = os.environ.get("PYTHON_IMAGE", "python:3.11-slim-bookworm")
    builder = "BUILDER=docker build --network=host"
    for command in (
        [str(ROOT / "tests" / "cluster" / "base_image.sh"), base],
        ["make", "images", f"IMAGES={' '.join(names)}", f"TAG={TAG}", builder],
    ):
        ran = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=_BUILD_S, check=False
        )
        assert ran.returncode == 0, (ran.stdout + ran.stderr)[-4000:]


def image(name: str) -> str:
    """The whole name of an image, such as that of `gateway`."""
    return f"inference-mesh/{name}:{TAG}"


def inspect(name: str) -> Mapping[str, Any]:
    """What Docker knows of an image."""
    found: list[Mapping[str, Any]] = json.loads(docker("image", "inspect", image(name)))
    return found[0]


def options(
    environment: Mapping[str, object], mounts: Mapping[str, str], program: str | None = None
) -> list[str]:
    """The options that a container is run with.

    Args:
        environment: its variables.
        mounts: folders of this machine or volumes, each with where it is and how (`/models:ro`).
        program: what runs in place of what the image begins with.
    """
    told = [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
    held = [part for what, where in mounts.items() for part in ("--volume", f"{what}:{where}")]
    begins = ["--entrypoint", program] if program else []
    return [*_HARDENED, *told, *held, *begins]


def once(
    name: str,
    *arguments: str,
    program: str | None = None,
    environment: Mapping[str, object] | None = None,
    mounts: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a container to its end."""
    chosen = options(environment or {}, mounts or {}, program)
    return attempt("run", "--rm", *chosen, image(name), *arguments)


class Container:
    """A container that serves; use it as a context manager, which ends it.

    Args:
        name: of the image, such as `gateway`.
        environment: its variables.
        mounts: as `options` has them.
        program: what runs in place of what the image begins with.
        arguments: of what runs.
        more: options of Docker.
    """

    def __init__(
        self,
        name: str,
        environment: Mapping[str, object],
        mounts: Mapping[str, str],
        *,
        program: str | None = None,
        arguments: Sequence[str] = (),
        more: Sequence[str] = (),
    ) -> None:
        self._words = [*options(environment, mounts, program), *more, image(name), *arguments]
        self._name = f"mesh-test-{name}-{uuid.uuid4().hex[:8]}"

    def __enter__(self) -> Self:
        docker("run", "--detach", "--name", self._name, *self._words)
        return self

    def __exit__(self, *_: object) -> None:
        docker("rm", "--force", self._name)

    def run(self, *words: str) -> str:
        """What a command writes that is run beside what serves.

        Raises:
            AssertionError: it failed.
        """
        return docker("exec", self._name, *words)

    def stop(self) -> int:
        """Ends what serves as a cluster does, and returns its exit status."""
        docker("stop", "--time", "60", self._name)
        return int(docker("inspect", "--format", "{{.State.ExitCode}}", self._name))

    @property
    def log(self) -> str:
        """What it has written."""
        ran = attempt("logs", self._name)
        return ran.stdout + ran.stderr

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return docker("inspect", "--format", "{{.State.Running}}", self._name).strip() == "false"


class Volume:
    """A volume of Docker's for what the containers' user writes; a context manager."""

    def __init__(self) -> None:
        self.name = f"mesh-test-{uuid.uuid4().hex[:8]}"

    def __enter__(self) -> Self:
        docker("volume", "create", self.name)
        return self

    def __exit__(self, *_: object) -> None:
        # A container that was just ended may still hold it.
        give_up_at = time.monotonic() + PATIENCE_S
        while attempt("volume", "rm", self.name).returncode:
            assert time.monotonic() < give_up_at, f"volume {self.name} can't be removed"
            time.sleep(0.1)
