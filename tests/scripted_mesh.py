"""A real mesh whose language model is played: what a user says last is a script.

`gateway/tests/llm_script.py` says what a script is. It needs no model and no more than Python, so
that a judge can have it in an environment of its own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from real_mesh import ROOT, Mesh, Process, Server, free_ports, trained_models


class StandIn(Process):
    """A service of the gateway's own tests, in the gateway's environment.

    Args:
        name: of the service.
        environment: all of its environment.
        folder: for its log.
    """

    def __init__(self, name: str, environment: Mapping[str, str], folder: Path) -> None:
        self.grpc_port, admin_port = free_ports(2)
        own = {
            f"MESH_{name.upper()}_GRPC_PORT": str(self.grpc_port),
            f"MESH_{name.upper()}_ADMIN_PORT": str(admin_port),
            "PYTHONPATH": str(ROOT / "gateway" / "tests"),
        }
        command = [str(ROOT / "gateway/.venv/bin/python"), "-m", f"{name}_stand_in"]
        super().__init__(command, {**environment, **own}, folder / f"{name}.log")


class ScriptedMesh(Mesh):
    """Redis, a gateway and services that are played. Use it as a context manager.

    Args:
        folder: for its state and its logs.
        models: a model store with a classifier in production; None for a mesh without one.
        embedder: a model store with an embedder in production; None for a mesh without one.
        played: the services that are: the language model, or the embedder too.
        settings: more variables of the environment, of all of them.
    """

    def __init__(
        self,
        folder: Path,
        models: Path | None = None,
        *,
        embedder: Path | None = None,
        played: Sequence[str] = ("llm",),
        **settings: object,
    ) -> None:
        common = {"MESH_DEPLOYMENT": "tests", "MESH_MODELS_PATH": str(embedder)}
        stand_ins = {name: StandIn(name, common, folder) for name in played}
        self.llm = stand_ins["llm"]
        self._services: dict[str, StandIn | Server] = {**stand_ins}
        if embedder:
            self._services["embedder"] = Server("services/embedder", common, folder)
        targets: dict[str, Any] = {
            f"MESH_GATEWAY_{name.upper()}_TARGET": f"127.0.0.1:{each.grpc_port}"
            for name, each in self._services.items()
        }
        classifiers = 1 if models else 0
        super().__init__(
            folder, models or folder, classifiers=classifiers, **{**settings, **targets}
        )

    def __enter__(self) -> Self:
        try:
            for each in self._services.values():
                each.start()
            super().__enter__()
            self.until(self._all_serve, "the gateway sees every service")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for each in self._services.values():
            each.end()

    @property
    def url(self) -> str:
        """The address of the gateway."""
        return f"http://127.0.0.1:{self.port}"

    def _all_serve(self) -> bool:
        for each in self._services.values():
            assert not each.ended, each.log
        found = self.ask("GET", "/ready").json["backends"]
        return all(found[name] == "ready" for name in self._services)


def trained_embedder() -> Path | None:
    """The home of a store with an embedder in production; None where there is none."""
    try:
        return trained_models("embedder")
    except LookupError:
        return None
