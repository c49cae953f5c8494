"""The catalogue of hostile calls at the gRPC door."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import grpc
from google.rpc import error_details_pb2, status_pb2

from hostile_scene import (
    BAD_TOKENS,
    BOMB_BYTES,
    LONG_ID,
    MAX_MESSAGE_BYTES,
    Scene,
    token_that_may_only_read,
)
from inference import open_inference_grpc_pb2 as inference_pb2
from mesh.classifier.v1 import classifier_pb2
from oip_calls import raw
from processes import PATIENCE_S

CLASSIFY: Final = "/mesh.classifier.v1.ClassifierService/Classify"
INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class GrpcAnswer:
    """What came back: the code's name, its message, the metadata after it, and the response."""

    code: str
    details: str
    trailing: dict[str, Any]
    response: bytes


@dataclass(frozen=True)
class GrpcCase:
    """A call, and what it must be answered with.

    Attributes:
        name: what is wrong with it.
        method: its path.
        payload: its bytes.
        metadata: what stands beside them.
        code: of the answer.
        reason: of the error; None where there is none, or gRPC itself refuses.
        words: that stand in the message, or in the answer where there is no error.
        timeout_s: the caller's deadline.
        compression: of the message.
        race: whether the caller's own side may answer first, without a reason.
    """

    name: str
    method: str
    payload: Callable[[Scene], bytes]
    metadata: Callable[[Scene], Metadata]
    code: str
    reason: str | None
    words: str | Callable[[Scene], str]
    timeout_s: float = PATIENCE_S
    compression: grpc.Compression = grpc.Compression.NoCompression
    race: bool = False

    def check(self, scene: Scene, answer: GrpcAnswer) -> None:
        """Checks the answer."""
        told = f"{answer.details}{answer.trailing}{answer.response.decode(errors='replace')}"
        scene.check_leaks(told)
        assert answer.code == self.code, f"{answer.code} {told[:2000]}"
        words = self.words if isinstance(self.words, str) else self.words(scene)
        assert words in (told if self.code == "OK" else answer.details), told[:2000]
        reason = _reason(answer)
        assert reason == self.reason or (self.race and reason is None)
        if reason:
            assert len(answer.trailing["x-request-id"]) == 32


def _reason(answer: GrpcAnswer) -> str | None:
    packed = answer.trailing.get("grpc-status-details-bin")
    if packed is None:
        return None
    status, info = status_pb2.Status.FromString(packed), error_details_pb2.ErrorInfo()
    assert status.message == answer.details
    assert status.details[0].Unpack(info)
    assert info.domain == "mesh"
    return str(info.reason)


class GrpcAttacker:
    """Makes one call after the other over a channel. Use it as an async context manager.

    Args:
        address: of the door.
    """

    def __init__(self, address: str) -> None:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._channel = grpc.aio.insecure_channel(address, options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def leave(self) -> None:
        """Does nothing: the channel makes its connections by itself."""

    async def ask(self, case: GrpcCase, scene: Scene) -> GrpcAnswer:
        """Makes the call of a case; what comes back."""
        method: Any = self._channel.unary_unary(case.method)
        call = method(
            case.payload(scene),
            timeout=case.timeout_s,
            metadata=case.metadata(scene),
            compression=case.compression,
        )
        try:
            response: bytes = await call
        except grpc.aio.AioRpcError as error:
            trailing: Any = error.trailing_metadata() or ()
            return GrpcAnswer(error.code().name, error.details() or "", dict(trailing), b"")
        return GrpcAnswer("OK", "", dict(await call.trailing_metadata() or ()), response)


def with_key(*more: tuple[str, str]) -> Callable[[Scene], Metadata]:
    """The key that may do everything, and what else."""
    return lambda scene: (("authorization", f"Bearer {scene.key.text}"), *more)


def with_bearer(credential: Callable[[], str]) -> Callable[[Scene], Metadata]:
    """A credential of one's own."""
    return lambda _: (("authorization", f"Bearer {credential()}"),)


def texts(*content: str) -> Callable[[Scene], bytes]:
    """A request of the classifier."""
    payload = _encoded(*content)
    return lambda _: payload


def texts_of(size: int) -> Callable[[Scene], bytes]:
    """A request of that many bytes, whose only text is too long."""
    return texts("a" * (2 * size - len(_encoded("a" * size))))


def _encoded(*content: str) -> bytes:
    return classifier_pb2.ClassifyRequest(texts=content).SerializeToString()


def tensor(
    *contents: bytes, raws: tuple[bytes, ...] = (), **changes: Any
) -> Callable[[Scene], bytes]:
    """A request of the Open Inference Protocol with one tensor."""
    message = inference_pb2.ModelInferRequest(
        model_name=changes.pop("model", "classifier"), id=changes.pop("id", "")
    )
    said = {"name": "text", "datatype": "BYTES", "shape": [1], **changes}
    message.inputs.add(**said).contents.bytes_contents.extend(contents)
    message.raw_input_contents.extend(raws)
    payload = message.SerializeToString()
    return lambda _: payload


def call_case(
    name: str,
    payload: Callable[[Scene], bytes],
    code: str,
    reason: str | None,
    words: str,
    *more: tuple[str, str],
    method: str = CLASSIFY,
) -> GrpcCase:
    """A call with the key that may do everything."""
    return GrpcCase(name, method, payload, with_key(*more), code, reason, words)


def tensor_case(name: str, payload: Callable[[Scene], bytes], words: str) -> GrpcCase:
    """A request with tensors that are wrong."""
    return call_case(name, payload, *_INVALID, words, method=INFER)


_INVALID: Final = ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
_TOO_LARGE: Final = ("RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE")
_OVER: Final = (
    f"has {MAX_MESSAGE_BYTES + 1} bytes and the limit is {MAX_MESSAGE_BYTES} "
    "(MESH_MAX_MESSAGE_BYTES); ask for less at a time"
)

_CALLS: Final = (
    *(
        call_case(
            f"an unknown {what}",
            texts("a"),
            *("UNIMPLEMENTED", "UNIMPLEMENTED", f"there is no method '{path}'; "),
            method=f"/{path}",
        )
        for what, path in (
            ("method", "mesh.classifier.v1.ClassifierService/Nothing"),
            ("service", "mesh.weather.v1.WeatherService/Rain"),
            ("path to the stream between processes", "mesh.dispatch.v1.DispatchService/Dispatch"),
        )
    ),
    call_case("what is no message", lambda _: b"\xff", *_INVALID, "can't be parsed"),
    call_case("an empty text", texts("a", " "), *_INVALID, "texts[1] is empty; send some words"),
    call_case("an id of 10 KB", texts("a"), "OK", None, "\n\x01a", ("x-request-id", LONG_ID)),
    GrpcCase(
        "an identity of its own making",
        CLASSIFY,
        texts("who"),
        with_key(("x-mesh-key-id", "forged"), ("x-mesh-tenant", "forged"), ("x-mesh-hops", "1")),
        "OK",
        None,
        lambda scene: f"{scene.key.id} shop ",
    ),
    GrpcCase(
        "a deadline that passes",
        CLASSIFY,
        texts("wait"),
        with_key(),
        *("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "eadline"),
        timeout_s=0.05,
        race=True,
    ),
    call_case(
        "authorization twice",
        texts("a"),
        *("UNAUTHENTICATED", "KEY_MALFORMED", "copy it whole"),
        ("authorization", "Bearer another"),
    ),
    call_case(
        "a bomb of one header",
        texts("a"),
        *("RESOURCE_EXHAUSTED", None, "received metadata size exceeds"),
        ("x-a", "a" * 33 * 1024),
    ),
    call_case(
        "a bomb of many headers",
        texts("a"),
        *("RESOURCE_EXHAUSTED", None, ""),  # gRPC resets the stream without a word
        *[("x-a", "b")] * 1000,
    ),
)

_TENSORS: Final = (
    call_case(
        "an unknown model",
        tensor(b"a", model="weather"),
        *("NOT_FOUND", "MODEL_NOT_FOUND", "there is no model 'weather'; there is classifier"),
        method=INFER,
    ),
    tensor_case("an unknown tensor", tensor(b"a", name="txet"), "txet is no input; the model"),
    tensor_case("an unknown datatype", tensor(b"a", datatype="STRING"), "the datatype 'STRING'"),
    tensor_case(
        "another datatype", tensor(raws=(b"\1",), datatype="INT8"), "text is INT8; the model takes"
    ),
    tensor_case("a shape of more", tensor(b"a", shape=[2]), "text has 1 elements in bytes_conte"),
    tensor_case("a shape beyond all", tensor(b"a", shape=[2**40, 2**40]), "more than 2^63-1"),
    tensor_case(
        "both raw and typed contents",
        tensor(b"a", raws=(raw(b"a"),)),
        "text has typed contents beside raw ones; send all tensors in one form",
    ),
    tensor_case(
        "raw contents of more tensors",
        tensor(raws=(raw(b"a"), raw(b"a"))),
        "raw_input_contents has 2 entries for 1 inputs; send one for each",
    ),
    tensor_case(
        "BYTES beyond the buffer",
        tensor(raws=(b"\xff\xff\xff\xff" + b"a",)),
        "text ends within element 0 of the 1 elements",
    ),
    tensor_case(
        "an id of 10 KB in the message",
        tensor(b"a", id=LONG_ID),
        "id has over 1024 bytes of UTF-8; send a shorter one",
    ),
)

_SIZES: Final = (
    call_case(
        "a request at the limit -1",
        texts_of(MAX_MESSAGE_BYTES - 1),
        *(*_INVALID, "texts[0] is over 65536 bytes; send a shorter text"),
    ),
    call_case(
        "a request at the limit +1",
        texts_of(MAX_MESSAGE_BYTES + 1),
        *(*_TOO_LARGE, f"the request {_OVER}"),
    ),
    call_case(
        "a request over what is read",
        texts_of(4 * MAX_MESSAGE_BYTES),
        *("RESOURCE_EXHAUSTED", None, "message larger than max"),
    ),
    GrpcCase(
        "an answer at the limit -1",
        CLASSIFY,
        lambda scene: _encoded(scene.label("grpc", -1)),
        with_key(),
        *("OK", None, "xxx"),
    ),
    GrpcCase(
        "an answer at the limit +1",
        CLASSIFY,
        lambda scene: _encoded(scene.label("grpc", +1)),
        with_key(),
        *(*_TOO_LARGE, f"the response {_OVER}"),
    ),
    GrpcCase(
        "a compressed bomb",
        CLASSIFY,
        texts_of(BOMB_BYTES),
        with_key(),
        *("RESOURCE_EXHAUSTED", None, "Decompressed message larger than max"),
        compression=grpc.Compression.Gzip,
    ),
)

_CREDENTIALS: Final = (
    GrpcCase(
        "no key", CLASSIFY, texts("a"), lambda _: (), "UNAUTHENTICATED", "KEY_MISSING", "no API key"
    ),
    GrpcCase(
        "a key whose scope does not cover the route",
        CLASSIFY,
        texts("a"),
        lambda scene: (("x-api-key", scene.reader.text),),
        *("PERMISSION_DENIED", "SCOPE_MISSING", "may not do classifier:predict; use a key with"),
    ),
    GrpcCase(
        "a token whose scope does not cover the route",
        INFER,
        tensor(b"a"),
        with_bearer(token_that_may_only_read),
        *("PERMISSION_DENIED", "SCOPE_MISSING", "jwt:alice may not do classifier:predict"),
    ),
    *(
        GrpcCase(
            f"a token {token.name}",
            CLASSIFY,
            texts("a"),
            with_bearer(token.make),
            *("UNAUTHENTICATED", token.reason, token.words),
        )
        for token in BAD_TOKENS
    ),
)

GRPC_CASES: Final = (*_CALLS, *_TENSORS, *_SIZES, *_CREDENTIALS)
