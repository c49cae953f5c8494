"""Every name that leaves a process: metrics, span attributes, headers, reasons, settings.

Code imports these constants; a test compares what is emitted with them. Metric and attribute names
follow the OpenTelemetry semantic conventions where they have one (RPC release candidate, HTTP
stable).
"""

import enum
from typing import Final

# Processes, as in the names of their settings: MESH_CLASSIFIER_GRPC_PORT.
PROCESSES: Final = (
    "agent",
    "classifier",
    "embedder",
    "featurizer",
    "fetch",
    "forecaster",
    "gateway",
    "image_search",
    "llm",
    "load",
    "recommender",
    "streamer",
)

# Request headers and gRPC metadata.
REQUEST_ID: Final = "x-request-id"
REQUEST_TIMEOUT_MS: Final = "x-request-timeout-ms"
API_KEY: Final = "x-api-key"
TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
KEY_ID: Final = "x-mesh-key-id"
TENANT: Final = "x-mesh-tenant"
HOPS: Final = "x-mesh-hops"
RESERVATION: Final = "x-mesh-reservation"
STATUS_DETAILS: Final = "grpc-status-details-bin"
RETRY_PUSHBACK_MS: Final = "grpc-retry-pushback-ms"

# Headers of answers that have no room for a lineage in their bodies.
ANSWER_MODEL: Final = "x-mesh-model"
ANSWER_VERSION: Final = "x-mesh-version"
ANSWER_VARIANT: Final = "x-mesh-variant"
ANSWER_RUN: Final = "x-mesh-run"
ANSWER_DEPLOYMENT: Final = "x-mesh-deployment"
ANSWER_CACHE: Final = "x-mesh-cache"

# The domain of google.rpc.ErrorInfo.
ERROR_DOMAIN: Final = "mesh"

# What stands for a value outside a closed set of label values, and marks what has too many.
OTHER: Final = "other"
RPC_OTHER: Final = "_OTHER"
METRIC_OVERFLOW: Final = "otel.metric.overflow"

# Span and metric attributes.
RPC_SYSTEM: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_METHOD_ORIGINAL: Final = "rpc.method_original"
RPC_STATUS: Final = "rpc.response.status_code"
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
URL_PATH: Final = "url.path"
URL_SCHEME: Final = "url.scheme"
HTTP_METHOD: Final = "http.request.method"
HTTP_METHOD_ORIGINAL: Final = "http.request.method_original"
HTTP_ROUTE: Final = "http.route"
HTTP_STATUS: Final = "http.response.status_code"
MESH_REQUEST_ID: Final = "mesh.request_id"
MESH_TENANT: Final = "mesh.tenant"

# Metrics. Seconds and bytes, as Prometheus wants; the exporters put the unit into the name.
RPC_SERVER_DURATION: Final = "rpc.server.call.duration"
RPC_CLIENT_DURATION: Final = "rpc.client.call.duration"
HTTP_SERVER_DURATION: Final = "http.server.request.duration"
ENDPOINTS: Final = "mesh.client.endpoints"
TARGET: Final = "mesh.target"
BREAKERS: Final = "mesh.client.breakers"
BREAKER_STATE: Final = "mesh.breaker.state"
OUTSTANDING: Final = "mesh.client.outstanding"
IN_FLIGHT: Final = "mesh.requests.in_flight"
CALLS_IN_FLIGHT: Final = "mesh.calls.in_flight"
RETRIES: Final = "mesh.client.retries"
RETRY_OUTCOME: Final = "mesh.retry.outcome"
CPU_THREADS: Final = "mesh.cpu.threads"

# Buckets of the duration histograms in seconds, as the RPC conventions advise.
DURATION_BUCKETS_S: Final = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
)

# Predictions.
MODEL: Final = "mesh.model"
PREDICTIONS_DEGRADED: Final = "mesh.predictions.degraded"

# The micro-batcher. A row is one item of a request; its outcome is one of RowOutcome.
BATCHER: Final = "mesh.batcher"
ROW_OUTCOME: Final = "mesh.row.outcome"
BATCH_QUEUE_DEPTH: Final = "mesh.batch.queue.depth"
BATCH_QUEUE_DURATION: Final = "mesh.batch.queue.duration"
BATCH_RUN_DURATION: Final = "mesh.batch.run.duration"
BATCH_SIZE: Final = "mesh.batch.size"
BATCH_ROWS: Final = "mesh.batch.rows"


class RowOutcome(enum.StrEnum):
    """What became of a row that a caller handed to a batcher."""

    ANSWERED = "answered"
    FAILED = "failed"
    DROPPED = "dropped"  # it ran, and its caller had left
    LEFT = "left"  # its caller left while it waited, so it never ran
    EXPIRED = "expired"  # its deadline passed while it waited, so it never ran
    SHED = "shed"  # the queue had no place for it
    REFUSED = "refused"  # the batcher was closing


# API keys in Redis: one hash a key (`mesh:key:{<id>}`), and the sorted set of all ids by creation.
REDIS_KEY: Final = "mesh:key"
REDIS_KEYS: Final = "mesh:keys"
# A sorted set of the last use of each key, a stream of what was done to keys, a hash of the rates
# of tenants, and one of what they may use of what is metered.
REDIS_KEYS_USED: Final = "mesh:keys:used"
REDIS_KEYS_AUDIT: Final = "mesh:keys:audit"
REDIS_TENANTS: Final = "mesh:tenants"
REDIS_ALLOWANCES: Final = "mesh:tenants:allowances"
# Which model answered which request: two hashes a minute.
REDIS_LINEAGE: Final = "mesh:lineage"

# Answers that are kept, of each tenant, and the set of their names by time.
REDIS_PROMPTS: Final = "mesh:prompts"

# The gateway.
SERVER_TIMING: Final = "server-timing"
HTTP_METHOD_OTHER: Final = "_OTHER"
LOOKUP_OUTCOME: Final = "mesh.lookup.outcome"
KEY_STORE_UP: Final = "mesh.key_store.up"
LOOKUP_KIND: Final = "mesh.lookup.kind"
LOOKUPS: Final = "mesh.record.lookups"
LIMIT_DECISIONS: Final = "mesh.limit.decisions"
LIMIT_OUTCOME: Final = "mesh.limit.outcome"
JWKS_READS: Final = "mesh.jwks.reads"
READ_OUTCOME: Final = "mesh.read.outcome"
ACCESS_LOG_DROPPED: Final = "mesh.access_log.dropped"
LOG_DROPPED: Final = "mesh.log.dropped"
LINEAGE_DROPPED: Final = "mesh.lineage.dropped"

# Limits in Redis: what a caller has taken, and the slots it holds; its tenant is the hash tag.
REDIS_LIMIT: Final = "mesh:limit"
REDIS_SLOTS: Final = "mesh:slots"
# What a request has reserved of tokens and money, and what of them was used; as above.
REDIS_RESERVATION: Final = "mesh:reservation"
REDIS_TOKENS: Final = "mesh:tokens"
REDIS_BUDGET: Final = "mesh:budget"
# Usage: a hash for each tenant and day, and one for each tenant and process that writes; the set of
# tenants; the processes.
REDIS_LEDGER: Final = "mesh:ledger"
REDIS_LEDGER_TENANTS: Final = "mesh:ledgers"
REDIS_LEDGER_WRITERS: Final = "mesh:ledger:writers"
TOKEN_RESERVATIONS: Final = "mesh.token.reservations"  # noqa: S105  # tokens of text
RESERVATION_OUTCOME: Final = "mesh.reservation.outcome"
BUDGET_WARNINGS: Final = "mesh.budget.warnings"
BUDGET_WARNING: Final = "x-mesh-budget-warning"
SETTLEMENTS_WAITING: Final = "mesh.settlements.waiting"
SETTLEMENTS_DROPPED: Final = "mesh.settlements.dropped"
LEDGER_WAITING: Final = "mesh.ledger.waiting"
LEDGER_OVERFLOW: Final = "mesh.ledger.overflow"


class ReservationOutcome(enum.StrEnum):
    """What became of a request whose tokens and money are limited."""

    PASSED = "passed"
    REFUSED_TOKENS = "refused_tokens"
    REFUSED_BUDGET = "refused_budget"
    PASSED_ALONE = "passed_alone"  # by this gateway alone, since Redis can't be reached
    REFUSED_ALONE = "refused_alone"


class LimitOutcome(enum.StrEnum):
    """What became of a request that a rate limit was asked about."""

    PASSED = "passed"
    REFUSED = "refused"
    REFUSED_HERE = "refused_here"  # by what Redis has said just before
    PASSED_ALONE = "passed_alone"  # by this gateway alone, since Redis can't be reached
    REFUSED_ALONE = "refused_alone"


# Versions of models that a process serves. What became of a swap is one of SwapOutcome.
MODEL_VERSION: Final = "mesh.model.version"
MODEL_INFO: Final = "mesh.model.info"
MODEL_SWAPS: Final = "mesh.model.swaps"
SWAP_OUTCOME: Final = "mesh.swap.outcome"


class SwapOutcome(enum.StrEnum):
    """What became of a version that an alias asked for."""

    MOVED = "moved"
    REFUSED = "refused"  # it can't be served, and the old one goes on


# Connections that the gateway refuses before there is a request.
HTTP_REFUSED: Final = "mesh.http.refused"
REFUSAL: Final = "mesh.refusal"


# Generative models: the GenAI conventions of OpenTelemetry (development status), seconds.
GEN_AI_OPERATION: Final = "gen_ai.operation.name"
GEN_AI_MODEL: Final = "gen_ai.request.model"
GEN_AI_TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105  # tokens of text
GEN_AI_REQUEST_DURATION: Final = "gen_ai.server.request.duration"
GEN_AI_FIRST_TOKEN: Final = "gen_ai.server.time_to_first_token"  # noqa: S105  # tokens of text
GEN_AI_PER_TOKEN: Final = "gen_ai.server.time_per_output_token"  # noqa: S105  # tokens of text
# Theirs for tokens is a client's; this one counts what a server has computed.
TOKENS: Final = "mesh.tokens"
GEN_AI_REQUEST_BUCKETS_S: Final = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
    *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
)
GEN_AI_FIRST_TOKEN_BUCKETS_S: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1),
    *(0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
GEN_AI_PER_TOKEN_BUCKETS_S: Final = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2),
    *(0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
)


class TokenType(enum.StrEnum):
    """What a token was for."""

    INPUT = "input"
    OUTPUT = "output"
    CACHED = "cached"  # of the input, and computed for an earlier request


# The engine of a generative model: whether it answers, and how often it was started anew.
ENGINE_UP: Final = "mesh.engine.up"
ENGINE_RESTARTS: Final = "mesh.engine.restarts"
ENGINE_QUEUE: Final = "mesh.engine.queue.duration"
RESTART_REASON: Final = "mesh.restart.reason"


class RestartReason(enum.StrEnum):
    """Why an engine was started anew."""

    DIED = "died"
    HUNG = "hung"  # it had work and gave no sign of life


# TLS. A certificate is the one that the gateway's door shows, or the one inside the mesh.
TLS_EXPIRY: Final = "mesh.tls.certificate.expiry.timestamp"
TLS_RELOAD_FAILURES: Final = "mesh.tls.reload.failures"
TLS_ROLE: Final = "mesh.tls.role"


class TlsRole(enum.StrEnum):
    """What a certificate is for."""

    DOOR = "door"
    INTERNAL = "internal"
