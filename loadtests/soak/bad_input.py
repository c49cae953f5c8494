"""Bad requests in bulk, over HTTP, the Open Inference Protocol and gRPC.

A Redis, a stand-in service and a real gateway on 127.0.0.1; the catalogue is that of the gateway's
tests. Every answer must have its documented status and message and show nothing of the
implementation.

    make soak, or with options:
    gateway/.venv/bin/python loadtests/soak/bad_input.py --count 10000
"""

import sys
from typing import Final

from soak import Door, run

from hostile_grpc import GRPC_CASES, GrpcAttacker
from hostile_http import NATIVE_CASES
from hostile_oip import OIP_CASES
from hostile_wire import Attacker

DOORS: Final = (
    Door("HTTP", NATIVE_CASES, lambda gateway: Attacker(gateway.port)),
    Door("OIP", OIP_CASES, lambda gateway: Attacker(gateway.port)),
    Door("gRPC", GRPC_CASES, lambda gateway: GrpcAttacker(gateway.address)),
)

if __name__ == "__main__":
    sys.exit(run(DOORS, 100_000))
