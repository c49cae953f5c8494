"""What the gateway says of itself as a server of the Open Inference Protocol, at both doors."""

from importlib.metadata import version
from typing import Final

NAME: Final = "inference-mesh"
VERSION: Final = version("mesh-gateway")
EXTENSIONS: Final = ("binary_tensor_data",)
"""Extensions of the protocol, by the names that its servers give them."""
