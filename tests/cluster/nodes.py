"""The nodes of the cluster: one that tests drain and kill, and those that stay."""

from typing import Final

from cluster.clusters import Cluster, objects, run
from cluster.mesh import Mesh

_HOSTNAME: Final = "kubernetes.io/hostname"


class Nodes:
    """Two nodes at least.

    Args:
        cluster: that they are of.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        listed = objects(run(cluster.inside("kubectl", "get", "nodes", "--output=json")))
        nodes = sorted(listed, key=lambda node: str(node["metadata"]["name"]))
        assert len(nodes) >= 2, "the cluster has one node, and the tests need two"
        addresses = nodes[0]["status"]["addresses"]
        self.address = next(each["address"] for each in addresses if each["type"] == "InternalIP")
        """Where the first node has its NodePorts."""
        self._first = str(nodes[0]["metadata"]["labels"][_HOSTNAME])
        self.last = str(nodes[-1]["metadata"]["labels"][_HOSTNAME])
        """The node that tests drain and kill."""

    @property
    def selector_of_first(self) -> dict[str, str]:
        """Selects the first node, for what must not be lost with the last."""
        return {_HOSTNAME: self._first}

    def spread(self, mesh: Mesh) -> None:
        """Sees to it that the last node has a gateway and a classifier."""
        for component in ("gateway", "classifier"):
            if self.last not in mesh.nodes(component):
                mesh.kubectl("rollout", "restart", f"deploy/{mesh.name(component)}")
                mesh.rolled_out(component)
            assert self.last in mesh.nodes(component)

    @property
    def can_be_killed(self) -> bool:
        """Whether there is a way to kill one."""
        return self._cluster.kills

    def kill_last(self) -> None:
        """The last node is gone at once."""
        self._cluster.kill(self.last)

    def forget_last(self) -> None:
        """Says that a killed node will not come back, as a cloud does: what was there is let go."""
        run(self._cluster.inside("kubectl", "delete", "node", self.last))
