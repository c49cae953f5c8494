"""The JSON of the Open Inference Protocol, as types.

Source: kserve/open-inference-protocol, `inference_rest.md`.
"""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from meshkit.oip import FORMATS, Parameter

_Parameters = Annotated[
    dict[str, Parameter], Meta(description="Settings by name; those that nobody knows are ignored.")
]
_Shape = Annotated[list[int], Meta(description="Size of each dimension.", examples=[[2]])]
_Datatype = Annotated[
    str,
    Meta(description="Datatype of the elements.", extra_json_schema={"enum": [*FORMATS, "BYTES"]}),
]


class InferInput(msgspec.Struct, frozen=True):
    """A tensor that the model is given."""

    name: Annotated[str, Meta(description="Name of the input.", examples=["text"])]
    shape: _Shape
    datatype: _Datatype
    data: (
        Annotated[
            msgspec.Raw,
            Meta(
                description=(
                    "The elements in row-major order, flat or nested; BYTES as strings. Absent "
                    "where the parameter `binary_data_size` says that they follow the JSON."
                ),
                examples=[["A quiet film that stays with you.", "The plot goes nowhere, slowly."]],
                extra_json_schema={"type": "array"},
            ),
        ]
        | UnsetType
    ) = UNSET
    parameters: _Parameters = {}


class InferRequestedOutput(msgspec.Struct, frozen=True):
    """A tensor that is asked for."""

    name: Annotated[str, Meta(description="Name of the output.", examples=["label"])]
    parameters: Annotated[
        dict[str, Parameter],
        Meta(description="`binary_data`: whether its elements are to follow the JSON as bytes."),
    ] = {}


class InferRequest(msgspec.Struct, frozen=True):
    """Tensors for a model. Fields that are not of the protocol are ignored, as it wants."""

    inputs: list[InferInput]
    id: Annotated[
        str, Meta(description="Comes back in the response; of at most 1 KiB of UTF-8.")
    ] = ""
    parameters: Annotated[
        dict[str, Parameter],
        Meta(
            description=(
                "For the model, such as `allow_degraded` for the classifier. "
                "`binary_data_output`: whether outputs follow the JSON as bytes where they do not "
                "say themselves."
            )
        ),
    ] = {}
    outputs: Annotated[
        list[InferRequestedOutput],
        Meta(description="What is asked for, in the order of the answer; all where absent."),
    ] = []


class InferOutput(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tensor that the model gives."""

    name: Annotated[str, Meta(description="Name of the output.")]
    shape: _Shape
    datatype: _Datatype
    data: Annotated[
        list[Parameter] | UnsetType,
        Meta(
            description="The elements in row-major order, flat; absent where they follow as bytes."
        ),
    ] = UNSET
    parameters: _Parameters = {}


class InferResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a model made of its inputs."""

    model_name: Annotated[str, Meta(description="Name of the model.")]
    model_version: Annotated[str, Meta(description="Version of the model that answered.")]
    outputs: list[InferOutput]
    id: Annotated[str, Meta(description="As in the request; absent where it had none.")] = ""
    parameters: Annotated[
        dict[str, Parameter],
        Meta(
            description=(
                "Where the answer comes from: `model`, `version`, `variant`, `run`, `deployment`; "
                "and `degraded_reason` where a fallback made part of it."
            )
        ),
    ] = {}


class Live(msgspec.Struct, frozen=True):
    """The server answers."""

    live: bool


class Ready(msgspec.Struct, frozen=True):
    """The server can be asked."""

    ready: bool


class ServerMetadata(msgspec.Struct, frozen=True):
    """What serves."""

    name: str
    version: str
    extensions: Annotated[
        tuple[str, ...], Meta(description="Extensions of the protocol that it speaks.")
    ]


class Models(msgspec.Struct, frozen=True):
    """What there is to ask."""

    models: Annotated[list[str], Meta(description="Names of the models that the caller may read.")]


class TensorMetadata(msgspec.Struct, frozen=True):
    """A tensor that a model takes or gives."""

    name: str
    datatype: str
    shape: Annotated[list[int], Meta(description="Size of each dimension; -1 where it varies.")]


class ModelMetadata(msgspec.Struct, frozen=True):
    """What a model takes and gives."""

    name: str
    versions: Annotated[list[str], Meta(description="The versions that serve.")]
    platform: Annotated[str, Meta(description="What the model is, and what runs it.")]
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReady(msgspec.Struct, frozen=True):
    """The model can be asked."""

    name: str
    ready: bool


class OpenInferenceError(msgspec.Struct, frozen=True):
    """An error, as the Open Inference Protocol has it."""

    error: Annotated[str, Meta(description="What is wrong, and the remedy.")]
