"""The images that the mesh of the tests runs, as an archive for the nodes."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster.clusters import CommandFailed, run
from real_mesh import ROOT

_HERE: Final = Path(__file__).resolve().parent
_NAMES: Final = ("gateway", "classifier")
_TAG: Final = "test"
_REDIS: Final = "inference-mesh/redis:test"
# Builds find their package index as this machine does; its Docker may have no network of its own.
_BUILD: Final = ("docker", "build", "--network=host")
_BASE: Final = os.environ.get("PYTHON_IMAGE", "python:3.11-slim-bookworm")


@dataclass(frozen=True)
class Images:
    """What was built.

    Attributes:
        tag: of every image.
        next_tag: of the same images once more, for an upgrade.
        archive: all of them, as `docker save` writes it.
    """

    tag: str
    next_tag: str
    archive: Path


def build(folder: Path) -> Images:
    """Builds them with `make images`, and the Redis for trying out.

    Args:
        folder: where the archive is to be.

    Raises:
        CommandFailed: Docker does not run, or a build failed.
    """
    try:
        run(["docker", "version"])
    except CommandFailed as failed:
        raise CommandFailed(f"Docker does not run: start it with `dockerd &`; {failed}") from None
    _see_to_base()
    made = Images(_TAG, f"{_TAG}-next", folder / "images.tar")
    command = ["make", "images", f"TAG={made.tag}", f"BUILDER={' '.join(_BUILD)}"]
    subprocess.run(command, cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
    names = [_REDIS]
    for name in _NAMES:
        image, following = (f"inference-mesh/{name}:{tag}" for tag in (made.tag, made.next_tag))
        run(["docker", "tag", image, following])
        names += [image, following]
    options = [f"--build-arg=PYTHON_IMAGE={_BASE}", f"--tag={_REDIS}"]
    run([*_BUILD, *options, f"--file={_HERE / 'redis.Dockerfile'}", str(_HERE)])
    run(["docker", "save", f"--output={made.archive}", *names])
    return made


def build_llm(folder: Path) -> Path:
    """Builds the image of the llm under the same tag: gigabytes, and minutes.

    Args:
        folder: where the archive is to be.

    Returns:
        The archive.

    Raises:
        CommandFailed: a build failed.
    """
    command = ["make", "images", "IMAGES=llm", f"TAG={_TAG}", f"BUILDER={' '.join(_BUILD)}"]
    subprocess.run(command, cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
    archive = folder / "llm.tar"
    run(["docker", "save", f"--output={archive}", f"inference-mesh/llm:{_TAG}"])
    return archive


def _see_to_base() -> None:
    """Makes the image that all begin with, where it is not here and can't be pulled."""
    if _succeeds("docker", "image", "inspect", _BASE) or _succeeds("docker", "pull", _BASE):
        return
    run([str(_HERE / "base_image.sh"), _BASE])


def _succeeds(*command: str) -> bool:
    try:
        run(list(command))
    except CommandFailed:
        return False
    return True
