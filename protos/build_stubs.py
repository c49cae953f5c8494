"""Generates the stubs when mesh-protos is built, editable or not.

Run on its own (`python build_stubs.py`, where grpcio-tools and mypy-protobuf are installed) it does
the same, for `make protos`. The stubs land in `gen/`, which git ignores.
"""

import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from grpc_tools import protoc

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run on its own, outside a build
    BuildHookInterface = object

PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
ROOT = Path(__file__).resolve().parent


def generate(root: Path = ROOT) -> Path:
    """Generates Python stubs and their types for every .proto under `root` into `root/gen`.

    The folder is replaced as a whole, so a renamed contract leaves no stale stub behind.

    Raises:
        SystemExit: protoc refused a contract; its own message is on stderr.
    """
    sources = sorted(
        str(path.relative_to(root))
        for area in ("mesh", "inference")
        for path in (root / area).rglob("*.proto")
    )
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        fresh = Path(scratch) / "gen"
        fresh.mkdir()
        status = protoc.main(
            [
                "protoc",
                f"--proto_path={root}",
                f"--proto_path={Path(protoc.__file__).parent / '_proto'}",
                f"--python_out={fresh}",
                f"--grpc_python_out={fresh}",
                f"--mypy_out={fresh}",
                f"--mypy_grpc_out={fresh}",
                *(f"--plugin={plugin}={_program(plugin)}" for plugin in PLUGINS),
                *sources,
            ]
        )
        if status:
            raise SystemExit(f"protoc failed with status {status} on the contracts in {root}")
        _mark_typed(fresh)
        target = root / "gen"
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    return target


def _program(name: str) -> Path:
    """The plugin of this environment, which need not be on PATH."""
    return Path(sysconfig.get_path("scripts")) / name


def _mark_typed(package_root: Path) -> None:
    """Makes every generated folder a typed package (PEP 561)."""
    for stub in package_root.rglob("*_pb2.py"):
        folder = stub.parent
        while folder != package_root:
            (folder / "__init__.py").touch()
            (folder / "py.typed").touch()
            folder = folder.parent


class StubsHook(BuildHookInterface):  # type: ignore[misc]  # object where hatchling is absent
    """Hatchling build hook: generates before the wheel is put together."""

    PLUGIN_NAME = "stubs"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before each build."""
        generate(Path(self.root))


if __name__ == "__main__":
    sys.stdout.write(f"stubs: {generate()}\n")
