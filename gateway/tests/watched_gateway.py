"""The gateway with two more metrics, of what it holds on to: `python -m watched_gateway`."""

import asyncio
import ctypes
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import mesh_gateway.app
import meshkit.run
from mesh_gateway.rounds import RoundsLoop
from mesh_gateway.settings import Settings
from meshkit import telemetry
from meshkit.run import App
from watched_mesh import BLOCKS, TASKS


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[App]:
    loop = asyncio.get_running_loop()
    telemetry.observed(
        TASKS, "{task}", "Tasks of the loop.", lambda: [(len(asyncio.all_tasks(loop)), {})]
    )
    telemetry.observed(
        BLOCKS, "{block}", "Memory blocks of Python, once all garbage is gone.", _blocks
    )
    async with mesh_gateway.app.app(settings) as started:
        yield started


def _blocks() -> list[tuple[float, dict[str, str]]]:
    """Gives back what nobody uses, so that the memory of the process shows what is in use."""
    gc.collect()
    # The C library keeps what was freed for the next time; where it is glibc, it can be asked.
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    return [(sys.getallocatedblocks(), {})]


if __name__ == "__main__":
    meshkit.run.main(Settings, "watched_gateway:app", loop=RoundsLoop)
