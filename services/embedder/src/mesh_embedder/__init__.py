"""The embedder: texts as vectors."""
