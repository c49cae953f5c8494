"""skaffold.yaml is what Skaffold takes, and names files, arguments and values that there are."""

import copy
import json
import re
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml

from operations.promql import ROOT

CONFIG: Final[dict[str, Any]] = yaml.safe_load((ROOT / "skaffold.yaml").read_text("utf-8"))
_SCHEMA_FILE: Final = Path(__file__).parent / "skaffold" / "v4beta13.json"
SCHEMA: Final = json.loads(_SCHEMA_FILE.read_text("utf-8"))
RELEASE: Final = CONFIG["deploy"]["helm"]["releases"][0]
ARTIFACTS: Final = CONFIG["build"]["artifacts"]
VALIDATOR: Final = jsonschema.Draft7Validator(SCHEMA)


def with_profile(name: str) -> dict[str, Any]:
    """The configuration that `skaffold -p NAME` has."""
    config = copy.deepcopy(CONFIG)
    (profile,) = (each for each in CONFIG["profiles"] if each["name"] == name)
    for patch in profile["patches"]:
        *way, last = patch["path"].strip("/").split("/")
        place: Any = config
        for step in way:
            place = place[int(step)] if isinstance(place, list) else place[step]
        assert (last in place) == (patch["op"] == "replace"), patch
        place[last] = patch["value"]
    return config


def test_it_is_valid_with_and_without_a_profile() -> None:
    for config in (CONFIG, with_profile("cpu"), with_profile("gpu")):
        assert [error.message for error in VALIDATOR.iter_errors(config)] == []


def test_the_schema_refuses_what_skaffold_does_not_know() -> None:
    wrong = copy.deepcopy(CONFIG)
    wrong["build"]["artifacts"][0]["docker"]["buildargs"] = {}
    assert not VALIDATOR.is_valid(wrong)


def test_a_profile_chooses_what_is_built() -> None:
    assert with_profile("cpu") == CONFIG
    gpu = with_profile("gpu")
    accelerators = [
        each["docker"]["buildArgs"].get("ACCELERATOR") for each in gpu["build"]["artifacts"]
    ]
    assert accelerators == [None, "gpu", "gpu"]
    classifier = gpu["deploy"]["helm"]["releases"][0]["overrides"]["services"]["classifier"]
    assert classifier == {"gpu": {"enabled": True, "imageTagSuffix": ""}}


@pytest.mark.parametrize("artifact", ARTIFACTS, ids=lambda artifact: artifact["image"])
def test_build_arguments_are_those_of_the_dockerfile(artifact: dict[str, Any]) -> None:
    dockerfile = (ROOT / artifact["docker"]["dockerfile"]).read_text("utf-8")
    known = set(re.findall(r"^ARG (\w+)", dockerfile, re.MULTILINE))
    arguments = artifact["docker"]["buildArgs"]
    assert set(arguments) <= known
    accelerator = arguments.get("ACCELERATOR", "cpu")
    assert (ROOT / arguments["ROOM"] / f"requirements-image-{accelerator}.txt").is_file()


@pytest.mark.parametrize("artifact", ARTIFACTS, ids=lambda artifact: artifact["image"])
def test_every_module_of_an_image_is_brought_to_its_package(artifact: dict[str, Any]) -> None:
    brought: dict[Path, str] = {}
    for rule in artifact["sync"]["manual"]:
        files = list(ROOT.glob(rule["src"]))
        assert files, f"{rule['src']} names no file"
        assert rule["dest"] == "/source"
        brought |= {file: file.relative_to(ROOT / rule["strip"]).as_posix() for file in files}
    room = ROOT / artifact["docker"]["buildArgs"]["ROOM"]
    for source in (ROOT / "meshkit" / "src", room / "src"):
        for module in source.glob("mesh*/**/*.py"):
            assert brought[module] == module.relative_to(source).as_posix()


def test_the_release_sets_values_that_the_chart_takes() -> None:
    chart = ROOT / RELEASE["chartPath"]
    schema = json.loads((chart / "values.schema.json").read_text("utf-8"))
    images = {re.sub(r"\W", "_", artifact["image"]) for artifact in ARTIFACTS}
    for config in (CONFIG, with_profile("gpu")):
        release = config["deploy"]["helm"]["releases"][0]
        given = copy.deepcopy(release["overrides"])
        for path, template in release["setValueTemplates"].items():
            named = re.fullmatch(r"{{\.IMAGE_(REPO|TAG)_(\w+)}}", template)
            assert named
            assert named[2] in images
            *way, last = path.split(".")
            place = given
            for step in way:
                place = place.setdefault(step, {})
            place[last] = "some"
        found = jsonschema.Draft7Validator(schema).iter_errors(given)
        assert [f"{error.json_path}: {error.message}" for error in found] == []


def test_the_doors_are_forwarded() -> None:
    values = yaml.safe_load((ROOT / RELEASE["chartPath"] / "values.yaml").read_text("utf-8"))
    forwarded = {each["port"] for each in CONFIG["portForward"]}
    service = values["gateway"]["service"]
    assert forwarded == {service["httpPort"], service["grpcPort"]}
