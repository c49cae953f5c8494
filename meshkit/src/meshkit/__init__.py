"""The runtime library that every process of Inference Mesh imports."""

import os

# gRPC reads it once, when it is imported. Without it every handshake that a stranger fails is a
# line on stderr, which is not JSON and which nothing bounds.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
