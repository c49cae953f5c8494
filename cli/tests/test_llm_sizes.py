import pytest

from mesh_cli import llm_sizes
from mesh_cli.failures import Failure
from mesh_cli.llm_sizes import CONTEXT, GIB, KV_CACHE, decide


def test_a_roomy_machine_serves_it_as_the_service_would() -> None:
    llm = decide({}, 16 * GIB)
    assert llm.served
    assert llm.variables == {}
    assert llm.needs_bytes == llm_sizes.ENGINE_BYTES + 2 * GIB


def test_a_machine_of_8_gib_serves_the_small_form_and_says_so() -> None:
    # Firmware and kernel keep a part of what it was sold with.
    llm = decide({}, int(7.6 * GIB))
    assert llm.served
    assert llm.variables == {KV_CACHE: str(GIB), CONTEXT: "4096"}
    assert llm.needs_bytes == llm_sizes.ENGINE_BYTES + GIB
    assert f"{KV_CACHE}=1073741824 and {CONTEXT}=4096" in llm.why
    assert "this machine has 7.6 GiB" in llm.why


def test_what_the_user_sets_is_kept() -> None:
    llm = decide({KV_CACHE: str(GIB // 2)}, 8 * GIB)
    assert llm.variables == {CONTEXT: "4096"}
    assert llm.needs_bytes == llm_sizes.ENGINE_BYTES + GIB // 2


def test_a_machine_that_is_too_small_goes_without_and_says_what_helps() -> None:
    llm = decide({}, 4 * GIB)
    assert not llm.served
    assert "a mesh with it takes 7.0 GiB of memory and this machine has 4.0 GiB" in llm.why
    assert "MESH_LLM=on" in llm.why
    assert "\n" not in llm.why


def test_the_user_s_word_is_stronger_than_the_memory() -> None:
    assert decide({"MESH_LLM": "on"}, 4 * GIB).served
    off = decide({"MESH_LLM": "off"}, 64 * GIB)
    assert not off.served
    assert off.why == "is off (MESH_LLM=off)"


def test_before_an_upstream_it_needs_no_memory() -> None:
    llm = decide({"MESH_LLM_ENGINE": "remote"}, GIB)
    assert llm.served
    assert llm.remote
    assert llm.needs_bytes == 0
    assert llm.variables == {}


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [("MESH_LLM", "yes", "set auto, on or off"), (KV_CACHE, "2G", "is not a number of bytes")],
)
def test_what_is_no_value_is_refused_by_name(name: str, value: str, remedy: str) -> None:
    with pytest.raises(Failure, match=f"^{name}='{value}'.*{remedy}"):
        decide({name: value}, 16 * GIB)
