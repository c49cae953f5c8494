"""Fields of the llm's requests, as callers know them."""

import re
from collections.abc import Callable, Iterable
from typing import TypeAlias

from meshkit.errors import FieldViolation, InvalidArgument

ParamOf: TypeAlias = Callable[[str], str]
"""From the path of a field to the parameter that it was made of."""


def as_asked(error: InvalidArgument, param_of: ParamOf) -> InvalidArgument:
    """An error of the llm's that names the parameters as the caller knows them."""
    message = error.message
    violations = []
    for each in error.violations:
        param = param_of(each.field)
        message = message.replace(each.field, param, 1)
        violations.append(FieldViolation(param, each.description))
    return InvalidArgument(
        message, reason=error.reason, violations=violations, metadata=error.metadata
    )


def renamed(field: str, renamings: Iterable[tuple[re.Pattern[str], str]]) -> str:
    """A field by the first renaming that fits it; as it is where none does.

    Args:
        field: its path.
        renamings: what to look for, and what to put in its place.
    """
    for pattern, param in renamings:
        field, count = pattern.subn(param, field)
        if count:
            break
    return field
