"""The Open Inference Protocol at the gRPC door: calls go to the service whose model they name.

The name is read from the bytes: it is field 1 of every request that names a model, and a request
with large tensors need not be decoded for it.
"""

from collections.abc import Mapping
from typing import Final

from mesh_gateway import wire
from mesh_gateway.backends import Backend
from meshkit.errors import InvalidArgument, NotFound

SERVICE: Final = "inference.GRPCInferenceService"
_MODEL_NAME: Final = 1


def backend_of(payload: bytes, backends: Mapping[str, Backend]) -> Backend:
    """The service whose model a request names.

    Args:
        payload: the bytes of the request.
        backends: by the names of their models.

    Raises:
        InvalidArgument: the bytes are no such request.
        NotFound: no service has this model.
    """
    try:
        name = (wire.last_bytes(payload, _MODEL_NAME) or b"").decode()
    except ValueError as error:
        raise InvalidArgument(
            f"the request can't be parsed ({error}); send a message of {SERVICE}"
        ) from None
    if name not in backends:
        known = ", ".join(sorted(backends)) or "none"
        raise NotFound(
            f"there is no model {name[:100]!r}; there is {known}", reason="MODEL_NOT_FOUND"
        )
    return backends[name]
