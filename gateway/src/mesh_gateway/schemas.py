"""JSON types that several routes share, with their conversions from protobuf."""

from typing import Annotated

import msgspec
from msgspec import Meta

from mesh.common.v1 import common_pb2
from meshkit.errors import Code


class Lineage(msgspec.Struct, frozen=True):
    """Where a prediction comes from."""

    model: Annotated[str, Meta(description="Name of the model.")]
    version: Annotated[str, Meta(description="Immutable version of the model that answered.")]
    variant: Annotated[str, Meta(description="Arm of an experiment or canary.")]
    run: Annotated[str, Meta(description="Training run that produced the version.")]
    deployment: Annotated[str, Meta(description="Deployment that answered.")]
    feature_age_seconds: Annotated[
        float | None, Meta(description="Age of the oldest feature used; null where none is used.")
    ]


class Degraded(msgspec.Struct, frozen=True):
    """Says that a fallback answered in the model's place."""

    reason: Annotated[str, Meta(description="What made the fallback answer, and which one did.")]


class ItemError(msgspec.Struct, frozen=True):
    """Why one item has no answer while its neighbours have one."""

    code: Annotated[str, Meta(description="Canonical code, such as INTERNAL.")]
    reason: Annotated[str, Meta(description="Stable reason, for programs.")]
    message: Annotated[str, Meta(description="Human-readable sentence.")]
    retryable: Annotated[bool, Meta(description="Whether the item may succeed when sent again.")]


class Violation(msgspec.Struct, frozen=True):
    """One field of a request that is wrong."""

    field: Annotated[str, Meta(description="Path of the field, such as texts[3].")]
    description: Annotated[str, Meta(description="What is wrong with it.")]


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error, as RFC 9457 has it."""

    type: Annotated[str, Meta(description="URI of the kind of problem.")]
    title: Annotated[str, Meta(description="The kind of problem in words.")]
    status: Annotated[int, Meta(description="The HTTP status.", ge=400, le=599)]
    detail: Annotated[str, Meta(description="What is wrong here, and the remedy.")]
    instance: Annotated[str, Meta(description="The path that was asked for.")]
    code: Annotated[str, Meta(description="Canonical code, such as INVALID_ARGUMENT.")]
    reason: Annotated[str, Meta(description="Stable reason, for programs.")]
    retryable: Annotated[bool, Meta(description="Whether the request may succeed when repeated.")]
    request_id: Annotated[str, Meta(description="Id of the request in logs and traces.")]
    violations: Annotated[list[Violation], Meta(description="The fields at fault.")] = []
    violated_policies: Annotated[
        list[str],
        Meta(description="The limits that are reached, as `ratelimit-policy` names them."),
    ] = msgspec.field(name="violated-policies", default_factory=list)


def lineage(message: common_pb2.Lineage) -> Lineage:
    """The lineage of a response."""
    aged = message.HasField("feature_age_seconds")
    return Lineage(
        model=message.model,
        version=message.version,
        variant=message.variant,
        run=message.run,
        deployment=message.deployment,
        feature_age_seconds=message.feature_age_seconds if aged else None,
    )


def item_error(message: common_pb2.ItemError) -> ItemError:
    """The error of one item."""
    known = message.code in Code.__members__.values()
    return ItemError(
        code=Code(message.code).name if known else Code.UNKNOWN.name,
        reason=message.reason,
        message=message.message,
        retryable=message.retryable,
    )
