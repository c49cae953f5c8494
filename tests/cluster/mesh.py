"""A mesh in a cluster: what Helm and kubectl are asked of it, and what its pods say."""

import json
import re
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from cluster.clusters import Cluster, CommandFailed, objects, run

HTTP_PORT: Final = 30080
GRPC_PORT: Final = 30081
ADMIN_PORTS: Final = {"gateway": 9080, "classifier": 9061}
PATIENCE_S: Final = 240.0
_HERE: Final = Path(__file__).resolve().parent
CHART: Final = _HERE.parents[1] / "charts" / "inference-mesh"
VALUES: Final = _HERE / "values.yaml"


class Mesh:
    """A release of the chart, in a namespace of its own.

    Args:
        cluster: where it is installed.
        helm: the program.
        values: of every test, over those of a file.
        folder: for files of values.
    """

    namespace = "mesh-test"
    release = "mesh"

    def __init__(
        self, cluster: Cluster, helm: str, values: Mapping[str, Any], folder: Path
    ) -> None:
        self.cluster = cluster
        self._helm = helm
        self._values = values
        self._folder = folder

    def begin(self) -> None:
        """Makes the namespace, empty even where a run before this one was cut off."""
        self.end()
        self.kubectl("create", "namespace", self.namespace)
        self.until(lambda: "default" in self.kubectl("get", "serviceaccounts"), "an account")

    def end(self) -> None:
        """Removes the namespace with everything in it."""
        self.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--wait")

    def install(
        self,
        chart: Path,
        values: Mapping[str, Any] | None = None,
        values_file: Path = VALUES,
        timeout_s: float = PATIENCE_S,
    ) -> None:
        """Installs it, or upgrades it to a chart and to values, and waits until it is ready.

        Args:
            chart: a folder or a package.
            values: over those of every test.
            values_file: the file below those of every test.
            timeout_s: most seconds until it is ready.

        Raises:
            CommandFailed: Helm refused, or it did not become ready in time.
        """
        files = [f"--values={values_file}"]
        for number, each in enumerate((self._values, values or {})):
            path = self._folder / f"values-{number}.json"
            path.write_text(json.dumps(each))
            files.append(f"--values={path}")
        command = ["--install", self.release, str(chart), *files, *self._taking_over]
        self.helm("upgrade", *command, timeout_s=timeout_s)

    @cached_property
    def _taking_over(self) -> list[str]:
        """Lets Helm 4 set what `kubectl scale` or an autoscaler has set; Helm 3 always does."""
        version = run([self._helm, "version", "--template={{.Version}}"])
        return [] if version.startswith("v3.") else ["--force-conflicts"]

    def helm(self, verb: str, *arguments: str, timeout_s: float = PATIENCE_S) -> str:
        """What Helm writes; verbs that change something wait until it is done."""
        options = [f"--namespace={self.namespace}"]
        if verb in {"upgrade", "rollback", "uninstall"}:
            options += ["--wait", f"--timeout={timeout_s:.0f}s"]
        return run(self.cluster.inside(self._helm, verb, *options, *arguments))

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """What kubectl writes; `text` is its input."""
        return run(
            self.cluster.inside("kubectl", f"--namespace={self.namespace}", *arguments), text
        )

    def mesh(self, *arguments: str) -> str:
        """What the command `mesh` writes, in a gateway."""
        return self.kubectl("exec", f"deploy/{self.name('gateway')}", "--", "mesh", *arguments)

    def name(self, component: str) -> str:
        """The name of the component's objects."""
        return f"{self.release}-{component}"

    def pods(self, component: str) -> list[dict[str, Any]]:
        """The component's pods that are not about to end."""
        listed = self.kubectl("get", "pods", f"--selector={_selector(component)}", "--output=json")
        return [each for each in objects(listed) if "deletionTimestamp" not in each["metadata"]]

    def ready(self, component: str) -> list[str]:
        """The names of its pods that are ready."""
        return sorted(each["metadata"]["name"] for each in self.pods(component) if _ready(each))

    def ready_on(self, component: str, node: str) -> list[str]:
        """The names of those of its pods that are ready on a node."""
        here = [each for each in self.pods(component) if each["spec"].get("nodeName") == node]
        return [each["metadata"]["name"] for each in here if _ready(each)]

    def nodes(self, component: str) -> set[str]:
        """The nodes that its pods are on."""
        return {str(each["spec"].get("nodeName")) for each in self.pods(component)}

    def scale(self, component: str, replicas: int) -> None:
        """Scales it, and waits until so many pods are ready and the others have ended."""
        deployment = f"deploy/{self.name(component)}"
        self.kubectl("scale", deployment, f"--replicas={replicas}")
        self.rolled_out(component)
        self.until(lambda: len(self._all(component)) == replicas, f"{replicas} {component}")

    def rolled_out(self, component: str) -> None:
        """Waits until its deployment is as it is wanted."""
        timeout = f"--timeout={PATIENCE_S:.0f}s"
        self.kubectl("rollout", "status", f"deploy/{self.name(component)}", timeout)

    @property
    def at_rest(self) -> bool:
        """Whether each component has its two pods, ready, and the gateways know the others."""
        ready = {component: self.ready(component) for component in ADMIN_PORTS}
        known = 'mesh_client_endpoints{mesh_target="classifier"}'
        found = [self.metric("gateway", pod, known) for pod in ready["gateway"]]
        return found == [2, 2] and all(
            len(self._all(component)) == len(pods) == 2 for component, pods in ready.items()
        )

    def metric(self, component: str, pod: str, name: str) -> float:
        """The sum of a metric of a pod over all labels; 0 where it is not there.

        Args:
            component: that the pod is of.
            pod: its name.
            name: of the metric; with labels in braces, that one series of it.
        """
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}:{ADMIN_PORTS[component]}"
        page = self.kubectl("get", "--raw", f"{path}/proxy/metrics")
        found = re.findall(rf"^{re.escape(name)}(?:{{.*}})? (\S+)", page, re.MULTILINE)
        return sum(map(float, found))

    def answered(self) -> dict[str, float]:
        """How many calls each ready classifier has answered."""
        name = "rpc_server_call_duration_seconds_count"
        return {pod: self.metric("classifier", pod, name) for pod in self.ready("classifier")}

    def memory_bytes(self) -> dict[tuple[str, str], int]:
        """What each container uses now, by its pod and name, as the resource metrics have it."""
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{self.namespace}/pods"
        return {
            (pod["metadata"]["name"], container["name"]): _bytes(container["usage"]["memory"])
            for pod in objects(self.kubectl("get", "--raw", path))
            for container in pod["containers"]
        }

    def memory_limits_bytes(self) -> dict[tuple[str, str], int]:
        """What each container may use, by its pod and name."""
        listed = objects(self.kubectl("get", "pods", "--output=json"))
        return {
            (pod["metadata"]["name"], container["name"]): _bytes(limit)
            for pod in listed
            for container in _containers(pod)
            if (limit := container.get("resources", {}).get("limits", {}).get("memory"))
        }

    def described(self) -> str:
        """The pods and what happened to them, for whoever looks for the cause of a failure."""
        pods = self.kubectl("get", "pods", "--output=wide")
        return pods + self.kubectl("get", "events", "--sort-by=.lastTimestamp")[-4000:]

    def until(self, true: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> float:
        """Polls until it is true, and returns the seconds that it took.

        Raises:
            AssertionError: it is not, after so many seconds.
        """
        began_s = time.monotonic()
        while not _holds(true):
            assert time.monotonic() < began_s + seconds, f"not so after {seconds:.0f} s: {what}"
            time.sleep(0.5)
        return time.monotonic() - began_s

    def _all(self, component: str) -> list[dict[str, Any]]:
        """All its pods, those that end included."""
        return objects(
            self.kubectl("get", "pods", f"--selector={_selector(component)}", "--output=json")
        )


def _selector(component: str) -> str:
    return f"app.kubernetes.io/instance={Mesh.release},app.kubernetes.io/component={component}"


def _ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    spec = pod["spec"]
    return [*spec["containers"], *spec.get("initContainers", [])]


def _holds(true: Callable[[], bool]) -> bool:
    """Whether it is true now; a pod may go between being named and being asked."""
    try:
        return true()
    except CommandFailed:
        return False


_UNITS: Final = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3, "M": 10**6, "G": 10**9}


def _bytes(quantity: str) -> int:
    """A quantity of Kubernetes, such as 512Mi."""
    number, unit = re.fullmatch(r"(\d+)([A-Za-z]*)", quantity).groups()  # type: ignore[union-attr]  # Kubernetes wrote it so
    return int(number) * _UNITS[unit]
