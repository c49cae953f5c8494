"""The texts that agreement is measured on: of many kinds, and of every length."""

from typing import Final

import numpy as np

from mesh_pipelines.fetch import fetch
from mesh_pipelines.rated_texts import read_rated_texts
from mesh_pipelines.sources import Source, load_sources

_SOURCE: Final = "rated-texts"
_ARCHIVE: Final = "hutto_ICWSM_2014.tar.gz"
_SINGLE: Final = 96
# Texts of several joined, some longer than the model reads.
_JOINED: Final = (2, 4, 8, 16, 32)
_EACH: Final = 3
# What people write beside sentences in English.
_OTHERS: Final = (
    "ok",
    "WORST. PURCHASE. EVER!!! :(",
    "def area(r: float) -> float:\n    return math.pi * r**2",
    "\u00bfQu\u00e9 tal? Les \u00e9l\u00e8ves sont l\u00e0. Gr\u00fc\u00dfe aus M\u00fcnchen.",
    "\u4eca\u65e5\u306f\u826f\u3044\u5929\u6c17\u3067\u3059\u306d \U0001f600",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043a\u0430\u043a \u0434\u0435\u043b\u0430?",
    "3.14159 1,000,000 2026-11-26T23:59:59Z https://example.com/?a=b#c",
    "a" * 300,
    "word " * 400,
)


def measured_on() -> Source:
    """Where the texts are from."""
    return load_sources()[_SOURCE]


def measuring_texts() -> list[str]:
    """The texts, the same ones each time.

    Raises:
        PipelineError: their source can't be had.
    """
    archive = fetch(measured_on())[_ARCHIVE]
    rated = [each.text for each in read_rated_texts(archive)]
    random = np.random.default_rng(20)

    def some(count: int) -> list[str]:
        return [rated[place] for place in random.choice(len(rated), count, replace=False)]

    joined = [" ".join(some(count)) for count in _JOINED for _ in range(_EACH)]
    return [*some(_SINGLE), *joined, *_OTHERS]
