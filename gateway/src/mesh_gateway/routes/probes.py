"""The routes that say whether the gateway lives and can admit."""

from typing import Final

from mesh_gateway.routes import oip, operations

PROBES: Final = frozenset({operations.HEALTH, operations.READY, oip.LIVE, oip.READY})
"""Their paths. Who asks decides by the answer whether the gateway is started again."""
