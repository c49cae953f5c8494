"""The chart that was released last upgrades to the current one, under load."""

import pytest
from cluster import released
from cluster.load import Load, Window
from cluster.mesh import CHART, Mesh

pytestmark = [pytest.mark.cluster, pytest.mark.full]


def test_the_last_release_upgrades(mesh: Mesh, load: Load) -> None:
    assert released.last().stem in mesh.helm("list", "--output=json")
    window = Window(load)
    mesh.install(CHART)
    window.nothing_failed()
    assert "deployed" in mesh.helm("status", mesh.release)
