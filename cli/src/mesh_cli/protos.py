"""Generates the stubs of the contracts, as the installation of mesh-protos does."""

from mesh_cli import uv
from mesh_cli.environments import build_guard
from mesh_cli.progress import Step
from mesh_cli.rooms import Environment, room


def generate() -> None:
    """Builds mesh-protos again, which writes `protos/gen`.

    Raises:
        Failure: a contract is wrong, or a download failed.
    """
    python = Environment(room("cli")).python
    with Step("generate stubs") as step:
        form = ["--python", str(python), "--no-deps", "--reinstall", *build_guard()]
        uv.run(["pip", "install", *form, "--editable", str(room("protos").path)], step)
