"""The page that shows how to add a service shows one that works."""

import asyncio
import importlib.util
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ports import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "adding-a-service.md"
MOST_LINES = 60


def blocks() -> dict[str, str]:
    """The page's code by file name."""
    found = re.findall(r"```(proto|python)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    files = {}
    for language, code in found:
        name = "wordcount.proto" if language == "proto" else code.split("\n")[0].removeprefix("# ")
        files[name] = code
    return files


def generate_stubs(protos: Path) -> None:
    spec = importlib.util.spec_from_file_location("build_stubs", protos / "build_stubs.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.generate(protos)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(REPOSITORY / "protos", tmp_path / "protos", ignore=lambda *_: ["gen"])
    contract = tmp_path / "protos/mesh/wordcount/v1/wordcount.proto"
    contract.parent.mkdir(parents=True)
    package = tmp_path / "mesh_wordcount"
    package.mkdir()
    for name, code in blocks().items():
        (contract if name.endswith(".proto") else package / name).write_text(code)
    generate_stubs(tmp_path / "protos")
    return tmp_path


@pytest.fixture
async def service(
    project: Path,
) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, str]]]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MESH_")},
        "PYTHONPATH": f"{project / 'protos/gen'}{os.pathsep}{project}",
        "MESH_WORDCOUNT_GRPC_PORT": str(free_port()),
        "MESH_WORDCOUNT_ADMIN_PORT": str(free_port()),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mesh_wordcount", env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process, environment
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def call(project: Path, environment: dict[str, str]) -> tuple[str, str]:
    script = project / "call.py"
    code = blocks()["call.py"].replace("50071", environment["MESH_WORDCOUNT_GRPC_PORT"])
    script.write_text(code)
    calling = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await calling.communicate()
    return out.decode(), error.decode()


def test_the_service_is_short() -> None:
    service = [code for name, code in blocks().items() if name != "call.py"]
    lines = [line for code in service for line in code.splitlines() if line.strip()]
    assert len(lines) < MOST_LINES


async def test_the_service_starts_answers_and_drains(
    project: Path, service: tuple[asyncio.subprocess.Process, dict[str, str]]
) -> None:
    process, environment = service
    assert process.stderr
    async with asyncio.timeout(60):
        while b"serving gRPC" not in await process.stderr.readline():
            assert process.returncode is None
        assert await call(project, environment) == ("[2, 1]\n", "")
        process.send_signal(signal.SIGTERM)
        assert b"drained" in await process.stderr.read()
        assert await process.wait() == 0
