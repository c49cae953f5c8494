"""Records what the reference implementation gives: `python tests/training/record.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import recorded  # found by the line above
from mesh_embedder.training.reference import Reference
from mesh_pipelines import text_encoder
from mesh_pipelines.fetch import fetch
from mesh_pipelines.sources import load_sources
from support import TEXTS

if __name__ == "__main__":
    files = fetch(load_sources()[text_encoder.SOURCE])
    recorded.write(TEXTS, Reference(files).embed(TEXTS))
