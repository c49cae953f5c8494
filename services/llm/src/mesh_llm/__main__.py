"""Runs the LLM service: `python -m mesh_llm`."""

import meshkit.run
from mesh_llm.settings import Settings

if __name__ == "__main__":
    meshkit.run.main(Settings, "mesh_llm.app:app")
