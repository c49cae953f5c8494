"""Runs the classifier: `python -m mesh_classifier`."""

import meshkit.run
from mesh_classifier.settings import Settings

if __name__ == "__main__":
    meshkit.run.main(Settings, "mesh_classifier.app:app")
