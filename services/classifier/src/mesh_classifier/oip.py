"""The classifier on the Open Inference Protocol: texts in as a tensor, answers out as tensors."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from mesh_classifier.answers import Classification
from mesh_classifier.servicer import SIGNATURE, Lease, Served
from meshkit.errors import MeshError
from meshkit.oip import Parameter, flag, lineage_parameters
from meshkit.oip_codec import Tensor, texts_of
from meshkit.oip_service import Inferred, Model, failed_row

PLATFORM: Final = "onnx_onnxruntime"
"""What the model is, and what runs it."""
ALLOW_DEGRADED: Final = "allow_degraded"
"""The parameter of a request that allows the lexicon rule; false where absent."""
DEGRADED_REASON: Final = "degraded_reason"
"""The parameter of a response that says why the lexicon rule answered; absent where it did not."""

_TEXT: Final = "text"
# What each output of the signature says of a text.
_ELEMENTS: Final[Mapping[str, Callable[[Classification], Any]]] = {
    "label": lambda said: said.label.encode(),
    "probabilities": lambda said: said.probabilities,
    "valence": lambda said: said.valence,
    "truncated": lambda said: said.truncated,
    "degraded": lambda said: said.degraded is not None,
}


def model(name: str, lease: Lease) -> Model:
    """The classifier as the protocol sees it.

    Args:
        name: of the model.
        lease: keeps the version that is serving loaded.
    """

    @contextmanager
    def asked_with_tensors() -> Iterator[TensorClassifier]:
        with lease() as served:
            yield TensorClassifier(served)

    return Model(name, PLATFORM, SIGNATURE, asked_with_tensors)


@dataclass(frozen=True, slots=True)
class TensorClassifier:
    """One loaded version, asked with tensors."""

    served: Served

    @property
    def name(self) -> str:
        """Name of the version."""
        return self.served.about.lineage.version

    async def infer(
        self, inputs: Mapping[str, Tensor], parameters: Mapping[str, Parameter]
    ) -> Inferred:
        """Classifies the texts of a request.

        The protocol has no error of one item, so a text that the model fails on fails the request.

        Raises:
            InvalidArgument: names the text or the parameter that is wrong.
            MeshError: as `Classifier.classify` has them, or what the model reports of a text.
        """
        texts = texts_of(inputs[_TEXT])
        outcomes = await self.served.classifier.classify(
            texts, allow_degraded=flag(parameters, ALLOW_DEGRADED, default=False), field=_TEXT
        )
        said = [_answered(index, outcome) for index, outcome in enumerate(outcomes)]
        outputs = [
            Tensor.of(spec.name, spec.datatype, [_ELEMENTS[spec.name](each) for each in said])
            for spec in SIGNATURE.outputs
        ]
        return outputs, {**lineage_parameters(self.served.about.lineage), **_degraded(said)}


def _answered(index: int, outcome: Classification | MeshError) -> Classification:
    if isinstance(outcome, Classification):
        return outcome
    raise failed_row(_TEXT, index, outcome)


def _degraded(said: Sequence[Classification]) -> dict[str, str]:
    """Why the lexicon rule answered, each reason once."""
    reasons = dict.fromkeys(each.degraded for each in said if each.degraded is not None)
    return {DEGRADED_REASON: "; ".join(reasons)} if reasons else {}
