"""Good requests in bulk, over HTTP, the Open Inference Protocol and gRPC.

A Redis, a stand-in service and a real gateway on 127.0.0.1. Every request must be answered.

    make soak, or with options:
    gateway/.venv/bin/python loadtests/soak/good_input.py --count 10000
"""

import json
import sys
from typing import Final

from soak import Door, run

from hostile_grpc import CLASSIFY as CALL
from hostile_grpc import GrpcAttacker, GrpcCase, with_key
from hostile_http import CLASSIFY, JSON, bearer
from hostile_scene import Scene
from hostile_wire import Attacker, HttpCase, request
from mesh.classifier.v1 import classifier_pb2

_INFER: Final = "/v2/models/classifier/infer"
_TEXTS: Final = ["a quiet film", "it broke after a day"]
_TENSORS: Final = {"inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": _TEXTS}]}


def _posted(path: str, body: object) -> HttpCase:
    def make(scene: Scene) -> bytes:
        return request(path, json.dumps(body).encode(), [bearer(scene), JSON])

    return HttpCase(f"a good request to {path}", make, 200, None, "")


_CALL: Final = GrpcCase(
    "a good call",
    CALL,
    lambda _: classifier_pb2.ClassifyRequest(texts=_TEXTS).SerializeToString(),
    with_key(),
    "OK",
    None,
    "",
)
DOORS: Final = (
    Door("HTTP", [_posted(CLASSIFY, {"texts": _TEXTS})], lambda each: Attacker(each.port)),
    Door("OIP", [_posted(_INFER, _TENSORS)], lambda each: Attacker(each.port)),
    Door("gRPC", [_CALL], lambda each: GrpcAttacker(each.address)),
)

if __name__ == "__main__":
    sys.exit(run(DOORS, 200_000))
