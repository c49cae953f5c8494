"""What several test files use."""

from typing import Literal

from mesh_classifier.network import Network, load
from meshkit.store import Version

# As people write: short and long, plain and odd, of several lengths in tokens.
TEXTS = [
    "A delight from the first scene to the last.",
    "The battery died after two days and nobody answered my mails.",
    "It is a film.",
    "ok",
    "Not bad at all, though I would not call it good either.",
    "The council will decide on the new budget when it meets again on Thursday.",
    "WORST. PURCHASE. EVER!!! :(",
    "\u00bfQu\u00e9 tal? \u4eca\u65e5\u306f\u826f\u3044\u5929\u6c17\u3067\u3059\u306d \U0001f600",
    "The plot wanders, the jokes fall flat, and yet the two leads have such charm that I left the "
    "cinema smiling, which is more than I can say of anything else I have seen this year.",
    "word " * 400,
]


def load_network(version: Version, precision: Literal["fp32", "int8"], width: int = 32) -> Network:
    return load(version, precision, max_batch_size=width, threads=1).network
