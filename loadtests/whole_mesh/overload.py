"""What becomes of callers when twice as much is asked as can be answered.

`gateway`: the gateway before an echo of the classifier's contract, so that it is the gateway that
has too much to do. `mesh`: the gateway before a trained classifier, whose queue is full. Requests
come at their own pace (an open loop): at 0.8 of the peak that 32 callers reach, and at twice that
peak. What has too much to do has half of the CPUs, and everything else the other half, so that
neither waits for the other, as on machines of their own. What is refused must be refused within 50
ms, with 429 or 503; what is admitted must keep the 99th percentile that it has at the peak. At 0.8
of it batches are narrow, and answers sooner than they can be where all is done that can be done.
Needs `wrk` and `h2load`, and for the mesh a trained version.

    python3 loadtests/whole_mesh/overload.py gateway|mesh [--rounds N] [--seconds S]
"""

import argparse
import functools
import json
import os
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from classifier.sample import TEXT
from gateway.scene import Scene, scene
from lab.load import Load, closed, percentile
from lab.open_loop import OK, Attack, attack
from lab.processes import Process, Together
from lab.rounds import in_turn, ratio, tell
from whole_mesh.scene import whole

CALM, OVER = "0.8 of the peak", "twice the peak"
SHARES: Final = {CALM: 0.8, OVER: 2.0}
REFUSED: Final = (429, 503)
MOST_REFUSAL_MS: Final = 50.0
_LEAD_S: Final = 1.0
_CALLERS: Final = 32
_PEAK_ROUNDS: Final = 3


def peak_of(ours: Scene, seconds: float) -> Sequence[Load]:
    """What 32 callers get answered, each one at a time."""
    found = in_turn(
        {
            f"{_CALLERS} callers": functools.partial(
                closed, ours.request, ours.gateway, connections=_CALLERS, seconds=seconds
            )
        },
        _PEAK_ROUNDS,
    )
    (loads,) = found.values()
    return loads


def main() -> None:
    """Measures and tells."""
    parser = argparse.ArgumentParser(description="Twice as much as can be answered.")
    parser.add_argument("what", choices=("gateway", "mesh"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    chosen = parser.parse_args()
    serving, loading = _halves()
    os.sched_setaffinity(0, serving)
    with _running(chosen.what) as found:
        os.sched_setaffinity(0, loading)
        for other in (found.redis, found.gateway if chosen.what == "mesh" else found.service):
            move(other, loading)
        body = json.dumps({"texts": [TEXT]}).encode()
        ours = replace(found, request=replace(found.request, body=body))
        loads = peak_of(ours, chosen.seconds / 2)
        peak = statistics.median(each.rate for each in loads)
        tell(f"peak: {peak:.0f} requests a second\n")
        served = Together(ours.gateway, ours.service, ours.redis)
        measured = in_turn(
            {
                name: functools.partial(
                    attack,
                    ours.request,
                    served,
                    rate=share * peak,
                    seconds=chosen.seconds,
                    lead_s=_LEAD_S,
                )
                for name, share in SHARES.items()
            },
            chosen.rounds,
        )
    for name, attacks in measured.items():
        summary(name, peak, attacks)
    p99s = {name: [each.load.p99_ms for each in attacks] for name, attacks in measured.items()}
    at_peak_ms = statistics.median(each.p99_ms for each in loads)
    told = ratio(p99s[OVER], [at_peak_ms] * len(p99s[OVER]))
    tell(f"p99 of what is admitted, {OVER} to the peak itself ({at_peak_ms:.0f} ms): {told}")
    tell(f"the same to {CALM}: {ratio(p99s[OVER], p99s[CALM])}")


def _halves() -> tuple[set[int], set[int]]:
    """The CPUs for what serves, and those for the load; processes inherit what is set for this."""
    cpus = sorted(os.sched_getaffinity(0))
    half = (len(cpus) + 1) // 2
    return set(cpus[:half]), set(cpus[half:] or cpus)


def move(running: Process, cpus: set[int]) -> None:
    """Has every thread of a process run on these CPUs."""
    for thread in Path(f"/proc/{running.pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cpus)


def _running(what: str) -> AbstractContextManager[Scene]:
    # A limit of the key would answer for the gateway, which is to be asked too much.
    return whole(MESH_GATEWAY_KEY_RATE="unlimited") if what == "mesh" else scene()


def summary(name: str, peak: float, attacks: list[Attack]) -> None:
    """Tells what became of the requests of a pace."""
    good = [waited for each in attacks for waited in each.waited_ms(OK)]
    refused = [waited for each in attacks for waited in each.waited_ms(*REFUSED)]
    statuses = Counter(each.status for attack in attacks for each in attack.answers)
    seconds = sum(each.seconds for each in attacks)
    tell(f"\n{name}: statuses {dict(statuses)}")
    tell(
        f"  answered {len(good) / seconds:.0f}/s, {len(good) / seconds / peak:.2f} of the peak: "
        f"p50 {percentile(good, 0.5):.1f} ms, p99 {percentile(good, 0.99):.1f} ms"
    )
    if refused:
        late = sum(waited > MOST_REFUSAL_MS for waited in refused) / len(refused)
        tell(
            f"  refused {len(refused) / seconds:.0f}/s: p50 {percentile(refused, 0.5):.1f} ms, "
            f"p99 {percentile(refused, 0.99):.1f} ms, most {max(refused):.1f} ms; "
            f"{late:.1%} later than {MOST_REFUSAL_MS:.0f} ms"
        )


if __name__ == "__main__":
    main()
