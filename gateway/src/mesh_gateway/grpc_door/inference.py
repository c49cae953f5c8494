"""The Open Inference Protocol at the gRPC door: calls go to the service whose model they name.

The name is read from the bytes: it is field 1 of every request that names a model, and a request
with large tensors need not be decoded for it.
"""

from typing import Final

from mesh_gateway import wire
from mesh_gateway.backends import Backend, TensorModels
from meshkit.errors import InvalidArgument

SERVICE: Final = "inference.GRPCInferenceService"
_MODEL_NAME: Final = 1


def backend_of(payload: bytes, models: TensorModels) -> Backend:
    """The service whose model a request names.

    Args:
        payload: the bytes of the request.
        models: those that there are.

    Raises:
        InvalidArgument: the bytes are no such request.
        NotFound: no service takes tensors for this model.
    """
    try:
        name = (wire.last_bytes(payload, _MODEL_NAME) or b"").decode()
    except ValueError as error:
        raise InvalidArgument(
            f"the request can't be parsed ({error}); send a message of {SERVICE}"
        ) from None
    known = ", ".join(sorted(models.backends)) or "none"
    return models.named(name, f"there is {known}")
