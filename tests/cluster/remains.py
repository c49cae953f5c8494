"""What is in a namespace, and what of it was not there in the beginning."""

from typing import Any, Final

from cluster.clusters import objects
from cluster.mesh import Mesh

_PASSING: Final = ("events", "events.events.k8s.io", "pods.metrics.k8s.io")
"""Kinds that record what was, and end by themselves."""

Name = tuple[str, str]
"""The kind of an object, and its name."""


class Remains:
    """The objects of the mesh's namespace beyond those that it has now.

    Args:
        mesh: whose namespace it is, before it is installed.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._before = set(self._all())

    def new(self) -> set[Name]:
        """Those that have come since."""
        return set(self._all()) - self._before

    def kept(self) -> set[Name]:
        """Those of the new ones that say themselves that an uninstall keeps them."""
        return {
            name
            for name, found in self._all().items()
            if name not in self._before
            and found["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
        }

    def _all(self) -> dict[Name, dict[str, Any]]:
        listing = self._mesh.kubectl(
            "api-resources", "--verbs=list", "--namespaced=true", "--output=name"
        )
        kinds = [kind for kind in listing.split() if kind not in _PASSING]
        listed = objects(self._mesh.kubectl("get", ",".join(kinds), "--output=json"))
        return {(each["kind"], each["metadata"]["name"]): each for each in listed}
