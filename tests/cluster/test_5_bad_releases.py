"""A release that can't serve stops before it has replaced anything, and a rollback mends it."""

from collections.abc import Mapping
from typing import Any

import pytest
from cluster.clusters import CommandFailed
from cluster.load import Load, Window
from cluster.mesh import CHART, Mesh
from cluster.models import Models

pytestmark = [pytest.mark.cluster, pytest.mark.full]

GIVES_UP_AFTER_S = 30.0


def stops_and_is_rolled_back(mesh: Mesh, load: Load, values: Mapping[str, Any]) -> None:
    before = mesh.ready("classifier")
    window = Window(load)
    with pytest.raises(CommandFailed):
        mesh.install(CHART, values, timeout_s=GIVES_UP_AFTER_S)
    assert mesh.ready("classifier") == before
    assert len(mesh.pods("classifier")) == len(before) + 1
    mesh.helm("rollback", mesh.release)
    mesh.until(lambda: len(mesh.pods("classifier")) == len(before), "the new pod is gone")
    assert mesh.ready("classifier") == before
    window.nothing_failed()


def test_an_image_that_there_is_not(mesh: Mesh, load: Load) -> None:
    image = {"image": {"tag": "never-built"}}
    stops_and_is_rolled_back(mesh, load, {"services": {"classifier": image}})


def test_a_version_that_there_is_not(mesh: Mesh, load: Load) -> None:
    model = {"model": {"version": "20000101-000000-000000"}}
    stops_and_is_rolled_back(mesh, load, {"services": {"classifier": model}})


def test_a_version_that_cannot_be_served(mesh: Mesh, load: Load, models: Models) -> None:
    model = {"model": {"version": models.garbage()}}
    stops_and_is_rolled_back(mesh, load, {"services": {"classifier": model}})
