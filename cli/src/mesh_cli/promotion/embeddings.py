"""Calls to an embedder that is about to be promoted, and what is wrong with its answers."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from mesh.embedding.v1 import embedding_pb2
from mesh.embedding.v1.embedding_pb2_grpc import EmbeddingServiceStub
from mesh_cli.promotion.answers import mismatches
from mesh_cli.promotion.outcomes import Outcome, judged
from mesh_cli.promotion.patience import patiently
from mesh_cli.promotion.policy import Triple, Triples
from meshkit.client import Client
from meshkit.errors import MeshError

Response = embedding_pb2.EmbedResponse

_ROUNDING: Final = 1e-4


async def embed(client: Client, texts: Sequence[str]) -> Response:
    """Embeds texts; comes back when the server says that it is too busy.

    Raises:
        MeshError: the server did not answer in a minute.
    """
    inputs = [embedding_pb2.EmbedInput(text=text) for text in texts]
    request = embedding_pb2.EmbedRequest(inputs=inputs)
    stub = client.stub(EmbeddingServiceStub)
    response: Response = await patiently(lambda: stub.Embed(request))
    return response


def faults(response: Response, texts: Sequence[str], version: str, dimensions: int) -> list[str]:
    """What no sound answer says; empty for a sound one."""
    found = mismatches(response, texts, version)
    for result in response.results:
        if result.WhichOneof("outcome") != "embedding":
            found.append(f"a text got the error {result.error.reason}: {result.error.message}")
        else:
            found.extend(_unsound(result.embedding.values, dimensions))
    return found


async def golden(client: Client, version: str, dimensions: int, wanted: Triples) -> Outcome:
    """Every named text lies nearer to what means the same than to what does not."""
    failed = {}
    for case in wanted.cases:
        if fault := await _case_fault(client, version, dimensions, case):
            failed[case.name] = fault
    passed = len(wanted.cases) - len(failed)
    return judged(
        "golden set",
        [f"{name!r}: {fault}" for name, fault in failed.items()],
        f"{passed} of {len(wanted.cases)} cases",
        {"cases": len(wanted.cases), "passed": passed, "failed": failed},
    )


async def _case_fault(client: Client, version: str, dimensions: int, case: Triple) -> str:
    texts = [case.text, case.nearer, case.farther]
    try:
        response = await embed(client, texts)
    except MeshError as error:
        return f"{error.reason}: {error.message}"
    if unsound := faults(response, texts, version, dimensions):
        return "; ".join(unsound)
    text, nearer, farther = (result.embedding.values for result in response.results)
    near, far = _product(text, nearer), _product(text, farther)
    # Written so that what is no number fails.
    if not near > far:
        return f"{case.nearer!r} is at {near:.2f} and {case.farther!r} at {far:.2f}"
    return ""


def _unsound(values: Sequence[float], dimensions: int) -> Iterator[str]:
    if len(values) != dimensions:
        yield f"{len(values)} numbers, and the model has {dimensions}"
    length = math.sqrt(_product(values, values))
    if not abs(length - 1) <= _ROUNDING:
        yield f"the length {length:.4f} instead of 1"


def _product(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
