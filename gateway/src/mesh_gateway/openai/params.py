"""Fields of the llm's requests, as callers know them."""

from collections.abc import Callable
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
        message = message.replace(each.field, param)
        violations.append(FieldViolation(param, each.description))
    return InvalidArgument(
        message, reason=error.reason, violations=violations, metadata=error.metadata
    )
