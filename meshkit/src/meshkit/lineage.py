"""Where a prediction comes from."""

from dataclasses import dataclass

from mesh.common.v1 import common_pb2


@dataclass(frozen=True, slots=True)
class Lineage:
    """The model and the deployment that answered.

    Attributes:
        model: name of the model.
        version: its immutable version.
        variant: arm of an experiment or canary.
        run: the training run that produced the version.
        deployment: the deployment that answered.
        feature_age_s: age of the oldest feature used, in seconds; None where no features are used.
    """

    model: str
    version: str
    variant: str
    run: str
    deployment: str
    feature_age_s: float | None = None

    def to_proto(self) -> common_pb2.Lineage:
        """The message of mesh.common.v1."""
        return common_pb2.Lineage(
            model=self.model,
            version=self.version,
            variant=self.variant,
            run=self.run,
            deployment=self.deployment,
            feature_age_seconds=self.feature_age_s,
        )

    @classmethod
    def from_proto(cls, message: common_pb2.Lineage) -> "Lineage":
        """The inverse of `to_proto`."""
        known = message.HasField("feature_age_seconds")
        return cls(
            model=message.model,
            version=message.version,
            variant=message.variant,
            run=message.run,
            deployment=message.deployment,
            feature_age_s=message.feature_age_seconds if known else None,
        )
