"""The process that makes the load: a plan comes in as a line of JSON, each outcome goes out as one.

It ends when its input does, so that it never outlives whoever started it.
"""

import asyncio
import json
import sys

from cluster.callers import Outcome, Plan, ask_on, callers


def _tell(outcome: Outcome) -> None:
    sys.stdout.write(json.dumps(outcome) + "\n")
    sys.stdout.flush()


async def _make(plan: Plan) -> None:
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for caller in callers(plan):
            group.create_task(ask_on(caller, plan.pause_s, _tell, over))
        await _input_ends()
        over.set()


async def _input_ends() -> None:
    """Waits for it; no thread does, since that could not be told that a caller failed."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    await reader.read()


if __name__ == "__main__":
    asyncio.run(_make(Plan(**json.loads(sys.stdin.readline()))))
