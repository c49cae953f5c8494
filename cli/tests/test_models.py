import re
from pathlib import Path

import pytest

from mesh_cli import models
from mesh_cli.failures import Failure
from mesh_cli.settings import Site
from meshkit import aliases


def test_a_version_is_in_production_once_an_alias_names_it(tmp_path: Path) -> None:
    site = Site.load({"MESH_STATE_PATH": str(tmp_path)})
    assert not models.has_production(site, "classifier")
    aliases.write(site.models, "classifier", "abc123", replaces=None)
    assert models.has_production(site, "classifier")


def test_a_damaged_alias_is_said(tmp_path: Path) -> None:
    site = Site.load({"MESH_STATE_PATH": str(tmp_path)})
    aliases.write(site.models, "classifier", "abc123", replaces=None)
    (file,) = (site.models / "aliases" / "classifier" / "production").iterdir()
    file.chmod(0o600)
    file.write_text("{")
    with pytest.raises(Failure, match=re.escape(str(file))):
        models.has_production(site, "classifier")


def test_what_can_not_learn_is_refused(tmp_path: Path) -> None:
    site = Site.load({"MESH_STATE_PATH": str(tmp_path)})
    with pytest.raises(Failure, match=r"no room is called 'services/weather'"):
        models.train(site, "weather")


def test_what_has_no_engine_is_not_evaluated(tmp_path: Path) -> None:
    site = Site.load({"MESH_STATE_PATH": str(tmp_path)})
    with pytest.raises(Failure, match="classifier has no engine to evaluate: mesh models report"):
        models.evaluate(site, "classifier", [])
