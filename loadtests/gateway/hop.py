"""The bare hop that the gateway is compared with: FastAPI and pydantic, then grpc.aio, no more.

    TARGET=127.0.0.1:50061 PORT=8090 gateway/.venv/bin/python loadtests/gateway/hop.py

Tuned as the gateway is: its garbage collector leaves alone what was there at the start.
"""

import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from mesh.classifier.v1 import classifier_pb2
from mesh.classifier.v1.classifier_pb2_grpc import ClassifierServiceStub

TIMEOUT_S = 10.0


class Texts(BaseModel):
    """What is asked."""

    texts: list[str]
    allow_degraded: bool = True


@asynccontextmanager
async def life(app: FastAPI) -> AsyncIterator[None]:
    """Holds the channel."""
    async with grpc.aio.insecure_channel(os.environ["TARGET"]) as channel:
        app.state.stub = ClassifierServiceStub(channel)
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 50, 1000)
        yield


app = FastAPI(lifespan=life)


@app.post("/v1/classify")
async def classify(texts: Texts) -> dict[str, Any]:
    """Asks the service."""
    answer = await app.state.stub.Classify(
        classifier_pb2.ClassifyRequest(texts=texts.texts, allow_degraded=texts.allow_degraded),
        timeout=TIMEOUT_S,
    )
    results = []
    for each in answer.results:
        found = each.classification
        results.append(
            {
                "status": "ok",
                "label": found.label,
                "probabilities": {one.label: one.probability for one in found.probabilities},
                "valence": found.valence,
                "truncated": found.truncated,
                "degraded": None,
            }
        )
    lineage = answer.lineage
    return {
        "results": results,
        "lineage": {
            "model": lineage.model,
            "version": lineage.version,
            "variant": lineage.variant,
            "run": lineage.run,
            "deployment": lineage.deployment,
            "feature_age_seconds": None,
        },
    }


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning", access_log=False)
