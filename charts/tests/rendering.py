"""Renders the chart with the real Helm, and finds things in what comes out."""

import functools
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "charts" / "inference-mesh"
_FIND_HELM: Final = [str(ROOT / "cli" / ".venv" / "bin" / "python"), "-m", "mesh_cli.helm"]

Object = dict[str, Any]
Values = Mapping[str, Any]


class Refused(Exception):
    """Helm would not render the values; its text is what it said."""


@functools.cache
def helm() -> str:
    """Where Helm is; fetched by the `mesh` command where the machine has none."""
    found = subprocess.run(_FIND_HELM, stdout=subprocess.PIPE, text=True, check=False)
    if found.returncode:
        raise RuntimeError("the tests of the chart need Helm: see the line above")
    return found.stdout.strip()


def render(values: Values | None = None, *options: str, release: str = "mesh") -> list[Object]:
    """Every object of the chart with these values.

    Raises:
        Refused: Helm refuses the values.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(values or {}, file)
        file.flush()
        command = [helm(), "template", release, str(CHART), "--values", file.name]
        ran = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise Refused(ran.stderr)
    sys.stderr.write(ran.stderr)
    return [each for each in yaml.safe_load_all(ran.stdout) if each]


def find(objects: list[Object], kind: str, name: str) -> Object:
    """The one object of that kind and name."""
    found = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name]
    if len(found) != 1:
        there = sorted(f"{each['kind']} {each['metadata']['name']}" for each in objects)
        raise LookupError(f"{len(found)} objects are a {kind} {name}; there are {there}")
    return found[0]


def kinds(objects: list[Object]) -> list[str]:
    """The kinds of the objects, each once, sorted."""
    return sorted({each["kind"] for each in objects})


def template_of(objects: list[Object], name: str) -> Object:
    """What the pods of a Deployment are made from; they start again where it changes."""
    template: Object = find(objects, "Deployment", name)["spec"]["template"]
    return template


def pod_of(objects: list[Object], name: str) -> Object:
    """The spec of the pods of a Deployment."""
    spec: Object = template_of(objects, name)["spec"]
    return spec


def main_container(objects: list[Object], name: str) -> Object:
    """The one container of a Deployment's pods that goes on."""
    (container,) = pod_of(objects, name)["containers"]
    found: Object = container
    return found


def settings_of(objects: list[Object], name: str) -> dict[str, str]:
    """The variables that a process reads from its ConfigMap."""
    data: dict[str, str] = find(objects, "ConfigMap", name)["data"]
    return data


def environment_of(container: Object) -> dict[str, Any]:
    """The variables that stand in a container: a value, or where it comes from."""
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def pods(objects: list[Object]) -> dict[str, Object]:
    """The spec of every pod that the objects make, by the name of what makes it."""
    found = {}
    for each in objects:
        name = f"{each['kind']} {each['metadata']['name']}"
        if each["kind"] == "Deployment":
            found[name] = each["spec"]["template"]["spec"]
        elif each["kind"] == "Pod":
            found[name] = each["spec"]
    return found


def containers(pod: Object) -> list[Object]:
    """Every container of a pod, those that begin it too."""
    return [*pod.get("initContainers", []), *pod["containers"]]
