"""The network once more, in numpy and double precision, from the numbers in the exported graph.

Written from the description of BERT (Devlin et al. 2018): of the graph only its constants are used,
none of its operators.
"""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

Floats = npt.NDArray[np.float64]

HEADS = 12
EPSILON = 1e-12

_erf = np.vectorize(math.erf, otypes=[np.float64])


class Reference:
    """The network with its numbers."""

    def __init__(self, graph: Path) -> None:
        model = onnx.load(graph)
        self.constants: dict[str, Floats] = {
            tensor.name: numpy_helper.to_array(tensor).astype(np.float64)
            for tensor in model.graph.initializer
        }
        # Exported matrices have lost their names; each is found by the bias that is added to it.
        products = {node.output[0]: node for node in model.graph.node if node.op_type == "MatMul"}
        for node in model.graph.node:
            biases = [name for name in node.input if name.endswith(".bias")]
            factors = [products[name] for name in node.input if name in products]
            if node.op_type == "Add" and biases and factors:
                name = biases[0].removesuffix("bias") + "weight"
                self.constants[name] = self.constants[factors[0].input[1]]

    def __call__(self, ids: list[int]) -> tuple[Floats, float]:
        """Logits [labels] and valence of one text."""
        states = self._embed(ids)
        for layer in range(6):
            states = self._layer(states, f"encoder.encoder.layer.{layer}")
        pooled = states.mean(axis=0)
        logits = pooled @ self.constants["label_weight"] + self.constants["label_bias"]
        raw = pooled @ self.constants["valence_weight"] + self.constants["valence_bias"]
        return logits, float(4 * np.tanh(raw[0]))

    def _embed(self, ids: list[int]) -> Floats:
        table = "encoder.embeddings.{}_embeddings.weight"
        words = self.constants[table.format("word")][ids]
        places = self.constants[table.format("position")][: len(ids)]
        kind = self.constants[table.format("token_type")][0]
        return self._normal(words + places + kind, "encoder.embeddings.LayerNorm")

    def _layer(self, states: Floats, name: str) -> Floats:
        queries, keys, values = (
            self._split(self._linear(states, f"{name}.attention.self.{part}"))
            for part in ("query", "key", "value")
        )
        scores = queries @ keys.transpose(0, 2, 1) / math.sqrt(queries.shape[-1])
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = powers / powers.sum(axis=-1, keepdims=True) @ values
        joined = mixed.transpose(1, 0, 2).reshape(states.shape)
        attended = self._linear(joined, f"{name}.attention.output.dense")
        states = self._normal(states + attended, f"{name}.attention.output.LayerNorm")
        inner = self._linear(states, f"{name}.intermediate.dense")
        activated = inner * (1 + _erf(inner / math.sqrt(2))) / 2
        return self._normal(
            states + self._linear(activated, f"{name}.output.dense"), f"{name}.output.LayerNorm"
        )

    def _split(self, states: Floats) -> Floats:
        return states.reshape(len(states), HEADS, -1).transpose(1, 0, 2)

    def _linear(self, states: Floats, name: str) -> Floats:
        return states @ self.constants[f"{name}.weight"] + self.constants[f"{name}.bias"]

    def _normal(self, states: Floats, name: str) -> Floats:
        centred = states - states.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
        normal: Floats = scaled * self.constants[f"{name}.weight"] + self.constants[f"{name}.bias"]
        return normal
