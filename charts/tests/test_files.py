"""Files that stand in values: prices, and what answers for which model's name."""

import tomllib
from typing import Any, Final

import pytest

from cases import FILES
from rendering import (
    Object,
    environment_of,
    find,
    main_container,
    pod_of,
    render,
    settings_of,
    template_of,
)

PRICES: Final = ("MESH_PRICES_PATH", "prices")
ROUTING: Final = ("MESH_GATEWAY_LLM_ROUTING_PATH", "routing")
READ_BY: Final = {
    "gateway": (PRICES, ROUTING),
    "embedder": (PRICES,),
    "llm": (PRICES,),
    "classifier": (),
}


@pytest.fixture(scope="module")
def told() -> list[Object]:
    """The chart with both files."""
    return render(FILES)


def test_a_file_is_what_the_value_says(told: list[Object]) -> None:
    for name, text in (("prices", FILES["prices"]), ("routing", FILES["gateway"]["llmRouting"])):
        assert settings_of(told, f"mesh-{name}") == {f"{name}.toml": text}
        assert tomllib.loads(text)


@pytest.mark.parametrize("process", READ_BY)
def test_who_needs_it_reads_it_from_a_volume(told: list[Object], process: str) -> None:
    pod, container = pod_of(told, f"mesh-{process}"), main_container(told, f"mesh-{process}")
    variables = environment_of({"env": [], **container})
    mounts = {each["name"]: each for each in container["volumeMounts"]}
    volumes = {each["name"]: each for each in pod["volumes"]}
    for variable, name in (PRICES, ROUTING):
        if (variable, name) not in READ_BY[process]:
            assert variable not in variables
            assert name not in volumes
            continue
        assert variables[variable] == f"{mounts[name]['mountPath']}/{name}.toml"
        assert mounts[name]["readOnly"]
        assert volumes[name]["configMap"] == {"name": f"mesh-{name}"}


CHANGES: list[tuple[dict[str, Any], set[str]]] = [
    ({"prices": f"{FILES['prices']}# dearer\n"}, {"gateway", "embedder", "llm"}),
    ({"gateway": {"llmRouting": 'embeddings = {"a" = "embedder"}\n'}}, {"gateway"}),
]


@pytest.mark.parametrize(("change", "rolled"), CHANGES)
def test_a_change_starts_those_that_read_it(
    told: list[Object], change: dict[str, Any], rolled: set[str]
) -> None:
    after = render({**FILES, **change})
    for process in READ_BY:
        same = template_of(after, f"mesh-{process}") == template_of(told, f"mesh-{process}")
        assert same == (process not in rolled), process


def test_without_them_nothing_is_made_and_no_pod_differs(defaults: list[Object]) -> None:
    for name in ("mesh-prices", "mesh-routing"):
        with pytest.raises(LookupError):
            find(defaults, "ConfigMap", name)
    annotations = template_of(defaults, "mesh-gateway")["metadata"]["annotations"]
    assert list(annotations) == ["checksum/config"]
