"""What an uninstall leaves behind."""

import pytest
from cluster.mesh import Mesh
from cluster.remains import Remains

pytestmark = [pytest.mark.cluster, pytest.mark.full]


def test_nothing_is_left_but_what_is_kept(mesh: Mesh, remains: Remains) -> None:
    mesh.helm("uninstall", mesh.release)
    mesh.until(lambda: remains.new() == remains.kept(), "everything else is gone")
    kinds = sorted(kind for kind, _ in remains.kept())
    assert kinds == ["PersistentVolumeClaim", "Secret", "Secret"]
