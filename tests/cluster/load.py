"""Load on the mesh for as long as a block, and what became of its requests."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, Self

from cluster.callers import Outcome, Plan
from cluster.clusters import Cluster

_TESTS: Final = Path(__file__).resolve().parents[1]
_PATIENCE_S: Final = 120.0
_SHOWN: Final = 20


class Load:
    """Asks from the beginning of the block to its end, in a process of its own.

    Args:
        cluster: whose nodes are asked.
        plan: what is asked.
        log: the file that the process's errors go to.
    """

    def __init__(self, cluster: Cluster, plan: Plan, log: Path) -> None:
        self._command = cluster.inside(sys.executable, "-m", "cluster.load_maker")
        self._plan = plan
        self._log = log
        self._reader = threading.Thread(target=self._read)
        self._running: subprocess.Popen[str] | None = None
        self.began_s = time.monotonic()
        """When it began."""
        self.outcomes: list[Outcome] = []
        """In the order of their ends."""

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._running = subprocess.Popen(
                self._command,
                cwd=_TESTS,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._running.stdin
        self._running.stdin.write(json.dumps(asdict(self._plan)) + "\n")
        self._running.stdin.flush()
        self._reader.start()
        self.settle()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._running
        assert self._running.stdin
        self._running.stdin.close()
        self._reader.join(_PATIENCE_S)
        assert self._running.wait(_PATIENCE_S) == 0, self._log.read_text()

    def since(self, began_s: float) -> list[Outcome]:
        """What became of the requests that ended after that time."""
        return [each for each in list(self.outcomes) if each.ended_s >= began_s]

    def settle(self) -> None:
        """Waits until every caller has begun a request after now and knows what became of it."""
        now_s = time.monotonic()
        callers = self._plan.http_callers + self._plan.grpc_callers
        self.until(
            lambda: (
                len(
                    {(each.door, each.caller) for each in self.since(now_s) if each.began_s > now_s}
                )
                == callers
            ),
            "every caller has asked once more",
        )

    def until(self, true: Callable[[], bool], what: str, seconds: float = _PATIENCE_S) -> float:
        """Polls until it is true, and returns the seconds that it took.

        Raises:
            AssertionError: the load ended, or it takes longer than `seconds`.
        """
        assert self._running
        began_s = time.monotonic()
        while not true():
            assert self._running.poll() is None, self._log.read_text()
            assert time.monotonic() < began_s + seconds, f"not so after {seconds:.0f} s: {what}"
            time.sleep(0.2)
        return time.monotonic() - began_s

    def _read(self) -> None:
        assert self._running
        assert self._running.stdout
        with self._running.stdout as lines:
            for line in lines:
                self.outcomes.append(Outcome(*json.loads(line)))


class Window:
    """What happens to requests while something is done to the mesh.

    Args:
        load: that asks.
    """

    def __init__(self, load: Load) -> None:
        self._load = load
        self.began_s = time.monotonic()

    def close(self) -> list[Outcome]:
        """Every outcome since the beginning, once each caller has asked once more."""
        self._load.settle()
        return self._load.since(self.began_s)

    def nothing_failed(self) -> None:
        """Closes it and expects that each request was answered.

        Raises:
            AssertionError: one was not; the message has the failures.
        """
        outcomes = self.close()
        failures = [each for each in outcomes if each.failed]
        assert not failures, f"{len(failures)} of {len(outcomes)}: {self.told(failures)}"

    def told(self, outcomes: Sequence[Outcome]) -> str:
        """Outcomes for people: how many of which kind, and the first of them with their times."""
        kinds = Counter((each.door, each.status) for each in outcomes)
        lines = [
            f"{each.began_s - self.began_s:7.2f} s {each.door} {each.caller} "
            f"after {each.ended_s - each.began_s:.2f} s: {each.status} {each.reason}"
            for each in outcomes[:_SHOWN]
        ]
        return "\n".join([f"{dict(kinds)}", *lines])
