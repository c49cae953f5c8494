"""Files of the model that turn into garbage under a classifier that serves."""

import shutil
from pathlib import Path

import pytest
from real_mesh import Mesh, trained_models

pytestmark = pytest.mark.full

TEXTS = {"texts": ["A delight from start to end.", "The plot goes nowhere, slowly."]}


def test_what_serves_goes_on_and_garbage_is_never_served(tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(trained_models(), models)
    with Mesh(tmp_path, models) as mesh:
        (classifier,) = mesh.classifiers
        good = mesh.classify(TEXTS).json
        version = models / "models" / "classifier" / good["lineage"]["version"]
        graphs = {path: path.read_bytes() for path in version.glob("*.onnx")}
        for path in graphs:
            path.chmod(0o644)
            path.write_bytes(b"garbage")
        for _ in range(20):
            assert mesh.classify(TEXTS).json == good

        classifier.kill()
        classifier.start()
        assert classifier.wait() != 0
        assert f"{good['lineage']['version']}" in classifier.log
        refused = mesh.classify(TEXTS)
        assert (refused.status, refused.json["reason"]) == (503, "UNAVAILABLE")

        for path, content in graphs.items():
            path.write_bytes(content)
        classifier.start()
        mesh.until(lambda: mesh.classify(TEXTS).status == 200, "the version is served again")
        assert mesh.classify(TEXTS).json == good
