"""`make up` with the llm, where there is a model for it: nothing waits, and it comes by itself."""

import dataclasses
import json
import re
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest
from end_to_end.clone import Clone
from end_to_end.test_two_commands import check_answer, curl_lines, paste
from real_mesh import ROOT

pytestmark = pytest.mark.full

# An engine that shares a busy machine is slow to compile its model.
PATIENCE_S = 1200.0
ON_ITS_WAY = {"WAITING", "INSTALLING", "LOADING"}
FREE_BYTES = 8 * 1024**3


@pytest.fixture(scope="module")
def models() -> Path:
    """A model store with an llm and a classifier in production."""
    home = ROOT / ".mesh" / "models"
    for model in ("classifier", "llm"):
        if not (home / "aliases" / model / "production").is_dir():
            pytest.skip(f"there is no {model} in {home}: `mesh models train {model}` makes one")
    return home


@pytest.fixture(scope="module")
def mesh(clone: Clone, models: Path) -> Clone:
    """The clone, told to serve the llm."""
    if psutil.virtual_memory().available < FREE_BYTES:
        pytest.skip("the llm needs 8 GiB of free memory")
    told = {"MESH_LLM": "on", "MESH_MODELS_PATH": str(models)}
    return dataclasses.replace(clone, variables=clone.variables | told)


def llm_line(shown: str) -> str:
    """What `make status` says of the llm's process."""
    (line,) = [line for line in shown.splitlines() if line.startswith("llm ")]
    return line


def until_ready(mesh: Clone, shown: str) -> None:
    """Waits for the llm, of which `make status` has just shown this."""
    deadline = time.monotonic() + PATIENCE_S
    while llm_line(shown).split()[1] != "READY":
        assert time.monotonic() < deadline, mesh.make("logs")
        time.sleep(2)  # between looks at another process, which tells nobody when it is ready
        shown = mesh.make("status")


def chat(mesh: Clone, key: str, **more: Any) -> bytes:
    """The body of an answer, once it is whole."""
    messages = [{"role": "user", "content": "Name three colours."}]
    request = urllib.request.Request(
        f"{mesh.address}/v1/chat/completions",
        data=json.dumps({"model": "llm", "messages": messages, **more}).encode(),
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        body: bytes = answer.read()
    return body


def reconciled(mesh: Clone) -> dict[str, dict[str, int]]:
    """What the ledger, the llm and its engine have counted, once the first two agree."""
    output = mesh.run("cli/mesh", "usage", "reconcile", "--json")
    processes = json.loads(output[output.index("{") :])["processes"]
    (llm,) = [each for each in processes if each["service"] == "llm" and each["counted"]]
    assert llm["written"] == llm["counted"]
    assert not llm["engine_restarted"]
    return {name: llm[name] for name in ("written", "engine")}


def test_nothing_waits_for_the_llm_and_it_comes_by_itself(mesh: Clone) -> None:
    output = mesh.make("up")
    assert "The llm is " in output
    assert "Nothing waits for it" in output
    (curl,) = curl_lines(output)
    # The mesh answers while the llm is installed and loaded.
    check_answer(paste(curl))
    shown = mesh.make("status")
    assert "is up and ready" in shown
    assert llm_line(shown).split()[1] in ON_ITS_WAY
    until_ready(mesh, shown)
    # A second `make up` leaves all of it alone.
    before = {name: process.pid for name, process in mesh.processes().items()}
    assert "mesh_llm" in before
    assert "The llm is ready" in mesh.make("up")
    assert {name: process.pid for name, process in mesh.processes().items()} == before
    engine = psutil.Process(before["mesh_llm"]).children(recursive=True)
    assert engine

    mesh.make("down")
    assert mesh.processes() == {}
    assert not [process for process in engine if process.is_running()]


def test_the_ledger_is_exact_by_the_engines_own_counters(mesh: Clone) -> None:
    (curl,) = curl_lines(mesh.make("up"))
    until_ready(mesh, mesh.make("status"))
    bearer = re.search(r"Bearer ([\w.-]+)", curl)
    assert bearer
    key = bearer[1]
    before = reconciled(mesh)
    # The question that was tried at the start, which nobody asked.
    assert before["engine"]["input"] > before["written"]["input"]

    choices = 3
    first = json.loads(chat(mesh, key, max_tokens=12))["usage"]
    several = json.loads(chat(mesh, key, max_tokens=8, n=choices))["usage"]
    assert b'"usage":{' in chat(
        mesh, key, max_tokens=16, stream=True, stream_options={"include_usage": True}
    )
    after = reconciled(mesh)

    def more(of: str, kind: str) -> int:
        return after[of][kind] - before[of][kind]

    prompt = first["prompt_tokens"]
    assert more("written", "input") == 3 * prompt
    assert (
        more("written", "output") >= first["completion_tokens"] + several["completion_tokens"] + 1
    )
    assert more("engine", "output") == more("written", "output")
    # vLLM counts a prompt once for each choice.
    assert more("engine", "input") == more("written", "input") + (choices - 1) * prompt
    mesh.make("down")


def test_down_ends_it_while_it_loads(mesh: Clone) -> None:
    mesh.make("up")
    assert llm_line(mesh.make("status")).split()[1] in ON_ITS_WAY
    llm = mesh.processes()["mesh_llm" if "mesh_llm" in mesh.processes() else "mesh_cli.llm_start"]
    mesh.make("down")
    assert not llm.is_running()
    assert mesh.processes() == {}
