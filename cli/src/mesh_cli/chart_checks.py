"""What `make check` asks of the chart."""

import sys
from pathlib import Path

from mesh_cli.rooms import Environment, room

# What is rendered, against the schemas of Kubernetes; wrong values, against the chart's own.
_TESTS = ("tests/test_manifests.py", "tests/test_values.py")


def commands() -> dict[str, tuple[tuple[str, ...], Path]]:
    """Each check by its name: a command, and the folder that it runs in."""
    charts = Environment(room("charts"))
    python = str(charts.python)
    helm = (sys.executable, "-m", "mesh_cli.helm")
    return {
        "helm lint": ((*helm, "lint", "--strict", "inference-mesh"), charts.room.path),
        "chart README": ((python, "reference.py", "--check"), charts.room.path),
        "chart manifests": ((python, "-m", "pytest", "-q", *_TESTS), charts.room.path),
    }
