"""The gateway with the counter behind it, and one metric more: `python -m chaos_gateway`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import counter_gateway
import meshkit.run
from mesh_gateway.rounds import RoundsLoop
from meshkit import telemetry
from meshkit.run import App
from watched_mesh import TASKS


@asynccontextmanager
async def app(settings: counter_gateway.CounterSettings) -> AsyncIterator[App]:
    loop = asyncio.get_running_loop()
    telemetry.observed(
        TASKS, "{task}", "Tasks of the loop.", lambda: [(len(asyncio.all_tasks(loop)), {})]
    )
    async with counter_gateway.app(settings) as started:
        yield started


if __name__ == "__main__":
    meshkit.run.main(counter_gateway.CounterSettings, "chaos_gateway:app", loop=RoundsLoop)
