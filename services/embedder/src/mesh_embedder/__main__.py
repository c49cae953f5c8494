"""Runs the embedder: `python -m mesh_embedder`."""

import meshkit.run
from mesh_embedder.settings import Settings

if __name__ == "__main__":
    meshkit.run.main(Settings, "mesh_embedder.app:app")
