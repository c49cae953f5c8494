"""500 idle streams and 500 slow readers at once: what each costs the gateway in memory.

python3 loadtests/openai/many_streams.py [--streams N] [--seconds S]
"""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab.processes import Process
from lab.rounds import tell
from openai.scene import PATH, Scene, body, scene

_IDLE, _SLOW = "say a; wait", "for ever"
# A slow reader takes so much at a time.
_BYTES_A_SECOND: Final = 2048
_LOOKS: Final = 6


def resident_kib(process: Process) -> int:
    """Memory of a process."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


async def hold(ours: Scene, script: str, begun: asyncio.Semaphore, slow: bool) -> None:
    """Holds one stream; a slow one is read a little every second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ours.port, limit=_BYTES_A_SECOND)
    try:
        content = body(script, stream=True)
        head = (
            f"POST {PATH} HTTP/1.1\r\nhost: load\r\nauthorization: Bearer {ours.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        writer.write(head.encode() + content)
        status = await reader.readline()
        if b" 200 " not in status:
            raise RuntimeError(f"a stream was refused: {status!r}")
        begun.release()
        while True:
            await asyncio.sleep(1)
            if slow and not await reader.read(_BYTES_A_SECOND):
                raise RuntimeError("a stream has ended")
    finally:
        writer.close()


async def measure(ours: Scene, streams: int, seconds: float) -> None:
    """Opens the streams, kind by kind, looks at the memory for a while, and closes them."""
    before = resident_kib(ours.gateway)
    tell(f"no stream: {before / 1024:.1f} MiB")
    tasks: list[asyncio.Task[None]] = []
    async with asyncio.TaskGroup() as group:
        for script in (_IDLE, _SLOW):
            began_kib = resident_kib(ours.gateway)
            begun = asyncio.Semaphore(0)
            slow = script is _SLOW
            tasks += [group.create_task(hold(ours, script, begun, slow)) for _ in range(streams)]
            for _ in range(streams):
                await begun.acquire()
            looks = []
            for _ in range(_LOOKS):
                await asyncio.sleep(seconds / _LOOKS)
                looks.append(resident_kib(ours.gateway) - began_kib)
            shown = ", ".join(f"{each / streams:.0f}" for each in looks)
            tell(f"{streams} {'slow' if slow else 'idle'} streams: KiB for each: {shown}")
        for task in tasks:
            task.cancel()
    await asyncio.sleep(5)
    tell(f"after the streams: {resident_kib(ours.gateway) / 1024:.1f} MiB")


def main() -> None:
    """Measures and tells."""
    parser = argparse.ArgumentParser(description="Memory of many streams.")
    parser.add_argument("--streams", type=int, default=500, help="of each kind")
    parser.add_argument("--seconds", type=float, default=60.0)
    chosen = parser.parse_args()
    with scene(MESH_GATEWAY_STREAM_IDLE_TIMEOUT_S="3600") as ours:
        asyncio.run(measure(ours, chosen.streams, chosen.seconds))


if __name__ == "__main__":
    main()
