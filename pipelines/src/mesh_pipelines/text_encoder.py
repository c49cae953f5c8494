"""The sentence encoder all-MiniLM-L6-v2 as it was published: its files, and what it reads."""

from typing import Final

NAME: Final = "all-MiniLM-L6-v2"
SOURCE: Final = "text-encoder"
"""The source of its files, in `sources.toml`; the files are the following."""
CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
TOKENIZER: Final = "tokenizer.json"

MAX_LENGTH: Final = 256
"""Most tokens of a text, the special ones included, that it was made for."""
PAD_ID: Final = 0
"""Fills up short texts."""
START_ID: Final = 101
"""Begins every text."""
END_ID: Final = 102
"""Ends every text."""
