"""What a caller may be allowed to do: to call a service, or to do one kind of thing with it."""

import re
from collections.abc import Iterable, Set
from typing import Final

from meshkit.errors import InvalidArgument

SERVICES: Final = ("classifier", "embedder", "llm")
"""The services behind the gateway."""
PREDICT: Final = "predict"
READ: Final = "read"
VERBS: Final = (PREDICT, READ)
"""`read` asks what a service is and has; `predict` puts it to work."""
SCOPES: Final = frozenset(SERVICES) | {f"{each}:{verb}" for each in SERVICES for verb in VERBS}
"""Every scope: a service by itself stands for all of its verbs."""

_READING: Final = re.compile(r"(Get|List|Describe)[A-Z]")
# Those of the Open Inference Protocol that name no verb.
_ALSO_READING: Final = frozenset(
    {"ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata"}
)


def verb_of(method: str) -> str:
    """The verb of a gRPC method by its short name, such as `GetModel`."""
    return READ if _READING.match(method) or method in _ALSO_READING else PREDICT


def allows(scopes: Set[str], service: str, verb: str) -> bool:
    """Whether a caller with these scopes may do this with the service."""
    return service in scopes or f"{service}:{verb}" in scopes


def check(scopes: Iterable[str]) -> frozenset[str]:
    """The scopes, once each.

    Raises:
        InvalidArgument: there is none, or one that does not exist.
    """
    granted = frozenset(scopes)
    known = ", ".join(sorted(SCOPES))
    if not granted:
        raise InvalidArgument.of_field("scopes", f"is empty; choose from {known}")
    if unknown := granted - SCOPES:
        raise InvalidArgument.of_field(
            "scopes", f"holds {', '.join(sorted(unknown))}; choose from {known}"
        )
    return granted
