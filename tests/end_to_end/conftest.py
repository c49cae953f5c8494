import os
import subprocess
from collections.abc import Iterator

import pytest
from end_to_end.clone import PORTS, Clone
from real_mesh import ROOT, free_ports


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """The committed tree, cloned; what runs of its mesh at the end is ended."""
    base = tmp_path_factory.mktemp("clone")
    folder = base / "repository"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), folder], check=True)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MESH_", "PYTEST_", "MAKE")) and name != "VIRTUAL_ENV"
    }
    ports = {name: str(port) for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}
    state = base / "state"
    # The llm takes gigabytes and minutes; test_llm.py has it.
    mesh = Clone(folder, state, kept | ports | {"MESH_STATE_PATH": str(state), "MESH_LLM": "off"})
    yield mesh
    if (folder / "cli" / ".venv").exists():
        mesh.make("down")
