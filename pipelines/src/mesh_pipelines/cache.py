"""Where downloads are kept between runs."""

import os
from collections.abc import Mapping
from pathlib import Path


def cache_path(environment: Mapping[str, str] | None = None) -> Path:
    """`MESH_CACHE_PATH`, else `inference-mesh` in the user's cache folder."""
    environment = os.environ if environment is None else environment
    if named := environment.get("MESH_CACHE_PATH"):
        return Path(named).expanduser().absolute()
    base = environment.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "inference-mesh"
