"""One cluster, one installed mesh and one load for all tests, in the order of their files."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import clusters, images, released
from cluster.callers import Plan
from cluster.clusters import Cluster
from cluster.load import Load
from cluster.memory import MemoryWatch
from cluster.mesh import GRPC_PORT, HTTP_PORT, Mesh
from cluster.models import Models
from cluster.nodes import Nodes
from cluster.remains import Remains
from real_mesh import ROOT, trained_models


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Shows the pods and what happened to them, where a test fails."""
    mesh = getattr(item, "funcargs", {}).get("mesh")
    if call.excinfo and isinstance(mesh, Mesh):
        item.add_report_section(call.when, "pods", mesh.described())


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A Kubernetes; without one `make test-cluster` fails, and `make test-full` goes on."""
    try:
        found = clusters.found()
    except clusters.NoCluster as missing:
        if "cluster" in request.config.option.markexpr:
            pytest.exit(str(missing), returncode=1)
        pytest.skip(str(missing))
    found.start()
    yield found
    found.end()


@pytest.fixture(scope="session")
def built(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> images.Images:
    """The images, which every node has."""
    made = images.build(tmp_path_factory.mktemp("images"))
    cluster.load(made.archive)
    return made


@pytest.fixture(scope="session")
def nodes(cluster: Cluster) -> Nodes:
    return Nodes(cluster)


@pytest.fixture(scope="session")
def models() -> Iterator[Models]:
    """The mirror, in a folder that nodes see, and the users of pods may read."""
    folder = Path(tempfile.mkdtemp(prefix="mesh-models-", dir=os.environ.get("TEST_MIRROR")))
    folder.chmod(0o755)
    try:
        yield Models(trained_models(), folder)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def release(
    cluster: Cluster,
    built: images.Images,
    nodes: Nodes,
    models: Models,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mesh]:
    """An empty namespace for the mesh."""
    values = {
        "image": {"tag": built.tag},
        "models": {"fetch": {"mirrorVolume": {"hostPath": {"path": str(models.mirror)}}}},
        "redis": {"nodeSelector": nodes.selector_of_first},
    }
    mesh = Mesh(cluster, helm(), values, tmp_path_factory.mktemp("values"))
    mesh.begin()
    yield mesh
    mesh.end()


def helm() -> str:
    """The program, which the command line finds or fetches."""
    command = [str(ROOT / "cli" / ".venv" / "bin" / "python"), "-m", "mesh_cli.helm"]
    return clusters.run(command).strip()


@pytest.fixture(scope="session")
def remains(release: Mesh) -> Remains:
    return Remains(release)


@pytest.fixture(scope="session")
def mesh(release: Mesh, remains: Remains) -> Mesh:
    """The chart that was released last, installed; `remains` saw what was there before."""
    release.install(released.last(), values_file=released.values())
    return release


@pytest.fixture(scope="session")
def plan(mesh: Mesh, nodes: Nodes) -> Plan:
    """A load that leaves the machine time for everything else."""
    return Plan(
        http=f"{nodes.address}:{HTTP_PORT}",
        grpc=f"{nodes.address}:{GRPC_PORT}",
        key=mesh.mesh("keys", "create", "tests").strip(),
        http_callers=4,
        grpc_callers=2,
        pause_s=0.2,
        texts=1,
        timeout_s=10.0,
    )


@pytest.fixture(scope="session")
def load(mesh: Mesh, plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """Requests from the first test to the last."""
    with Load(mesh.cluster, plan, tmp_path_factory.mktemp("load") / "load.log") as running:
        yield running


@pytest.fixture(scope="session", autouse=True)
def memory(mesh: Mesh) -> Iterator[MemoryWatch]:
    """Watches from the first test on."""
    with MemoryWatch(mesh) as watch:
        yield watch


@pytest.fixture(autouse=True)
def at_rest(mesh: Mesh) -> None:
    """What one test has begun is over before the next one begins."""
    mesh.until(lambda: mesh.at_rest, "two pods of each, no others, and each is found")
