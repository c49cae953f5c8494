"""The embedder on the Open Inference Protocol: texts in as a tensor, embeddings out as one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np

from mesh_embedder.inputs import Embedding, Wish
from mesh_embedder.model import tokens_of
from mesh_embedder.servicer import Lease, Served, signature
from meshkit.errors import MeshError
from meshkit.oip import Parameter, flag, lineage_parameters
from meshkit.oip_codec import Tensor, texts_of
from meshkit.oip_service import Inferred, Model, failed_row

PLATFORM: Final = "onnx_onnxruntime"
"""What the model is, and what runs it."""
TRUNCATE: Final = "truncate"
"""The parameter of a request that says whether the beginning of a longer text is embedded (true,
also where absent) or the text refused (false)."""
TOKENS: Final = "tokens"
"""The parameter of a response that says how many tokens counted."""

_TEXT: Final = "text"


def model(name: str, dimensions: int, lease: Lease) -> Model:
    """The embedder as the protocol sees it.

    Args:
        name: of the model.
        dimensions: numbers of an embedding.
        lease: keeps the version that is serving loaded.
    """

    @contextmanager
    def asked_with_tensors() -> Iterator[TensorEmbedder]:
        with lease() as served:
            yield TensorEmbedder(served)

    return Model(name, PLATFORM, signature(dimensions), asked_with_tensors)


@dataclass(frozen=True, slots=True)
class TensorEmbedder:
    """One loaded version, asked with tensors."""

    served: Served

    @property
    def name(self) -> str:
        """Name of the version."""
        return self.served.about.lineage.version

    async def infer(
        self, inputs: Mapping[str, Tensor], parameters: Mapping[str, Parameter]
    ) -> Inferred:
        """Embeds the texts of a request.

        The protocol has no error of one item, so a text that the model fails on fails the request.

        Raises:
            InvalidArgument: names the text or the parameter that is wrong.
            MeshError: as `Embedder.embed` has them, or what the model reports of a text.
        """
        texts = texts_of(inputs[_TEXT])
        wish = Wish(truncate=flag(parameters, TRUNCATE, default=True))
        outcomes = await self.served.embedder.embed("", texts, wish, field=_TEXT)
        outputs = _outputs([_embedded(index, each) for index, each in enumerate(outcomes)])
        return outputs, {
            **lineage_parameters(self.served.about.lineage),
            TOKENS: tokens_of(outcomes),
        }


def _embedded(index: int, outcome: Embedding | MeshError) -> Embedding:
    if isinstance(outcome, Embedding):
        return outcome
    raise failed_row(_TEXT, index, outcome)


def _outputs(embeddings: Sequence[Embedding]) -> list[Tensor]:
    return [
        Tensor.of("embedding", "FP32", np.stack([each.values for each in embeddings])),
        Tensor.of("truncated", "BOOL", [each.truncated for each in embeddings]),
    ]
