"""The classifier under 32 callers, against its graph in process and against BentoML.

In process means: tokenizer and ONNX Runtime in the best layout of sessions, threads and texts a
run, with the service's own options and nobody to be served. BentoML serves the same file with
adaptive batching. The load comes from the same cores in both cases, and from programs that cost
little. Needs `h2load`, `wrk` and a trained version.

    python3 loadtests/classifier/serving.py [--form int8] [--rounds N] [--seconds S]
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import grpc_load, load
from lab.load import Load
from lab.processes import ROOT, Process, free_ports, listens, process, python
from lab.rounds import in_turn, ratio, tell
from sample import TEXT

HERE = Path(__file__).parent
ROOM = ROOT / "services" / "classifier"
TRAINING = ROOM / ".venv-training" / "bin"
STORE = ROOT / ".mesh" / "models"
METHOD = "mesh.classifier.v1.ClassifierService/Classify"
LAYOUTS = ("1x2x16", "1x2x32", "2x1x1", "2x1x8", "2x1x16")
OURS, BENTO, ALONE = "classifier", "BentoML", "in process"
_LAYOUT_ROUNDS = 3
_THREADS = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class InProcess:
    """Texts a second with nobody to be served, and us of CPU for each."""

    rate: float
    cpu_us: float

    def __str__(self) -> str:
        return f"{self.rate:.0f} texts/s, {self.cpu_us:.0f} us CPU"


def in_process(version: Path, form: str, seconds: float, layout: str) -> InProcess:
    """Measures a layout."""
    command = [TRAINING / "python", HERE / "reference.py", version, form, layout, f"{seconds:g}"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return InProcess(*map(float, ran.stdout.split()))


def best_of(alone: Callable[[str], InProcess]) -> str:
    """The layout with the most texts a second."""
    layouts = {layout: functools.partial(alone, layout) for layout in LAYOUTS}
    found = in_turn(layouts, _LAYOUT_ROUNDS)
    return max(found, key=lambda layout: statistics.median(each.rate for each in found[layout]))


@contextmanager
def classifier(form: str, **settings: str) -> Iterator[tuple[grpc_load.Call, Process]]:
    """The service, and a call of it.

    Args:
        form: the precision that is served.
        settings: more of its environment.
    """
    port, admin_port = free_ports(2)
    environment = {
        "MESH_CLASSIFIER_GRPC_PORT": str(port),
        "MESH_CLASSIFIER_ADMIN_PORT": str(admin_port),
        "MESH_CLASSIFIER_PRECISION": form,
        "MESH_MODELS_PATH": str(STORE),
        **settings,
    }
    command = [python("services/classifier"), "-m", "mesh_classifier"]
    with process(command, environment) as running:
        running.until(lambda: listens(port), "the classifier listens")
        yield grpc_load.Call(f"127.0.0.1:{port}", METHOD, {"texts": [TEXT]}), running


@contextmanager
def bento(version: Path, form: str) -> Iterator[tuple[load.Request, Process]]:
    """BentoML, and a request to it."""
    (port,) = free_ports(1)
    environment = {
        "VERSION": str(version),
        "FORM": form,
        "THREADS": str(_THREADS),
        "PYTHONPATH": str(HERE),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    command = [TRAINING / "bentoml", "serve", "bento_service:Classifier", "--port", str(port)]
    with process([*command, "--working-dir", HERE], environment) as running:
        running.until(lambda: listens(port), "BentoML listens")
        body = json.dumps({"texts": [TEXT]}).encode()
        headers = {"content-type": "application/json"}
        yield load.Request(f"http://127.0.0.1:{port}/classify", body, headers), running


def main() -> None:
    """Measures and tells."""
    parser = argparse.ArgumentParser(description="The classifier against its graph and BentoML.")
    parser.add_argument("--form", choices=("int8", "fp32"), default="int8")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--callers", type=int, default=32)
    chosen = parser.parse_args()
    *_, newest = sorted((STORE / "aliases" / "classifier" / "production").iterdir())
    version = STORE / "models" / "classifier" / json.loads(newest.read_text())["version"]
    alone = functools.partial(in_process, version, chosen.form, chosen.seconds)
    best = best_of(functools.partial(in_process, version, chosen.form, chosen.seconds / 2))
    tell(f"the best layout is {best}\n")
    with ExitStack() as stack:
        call, service = stack.enter_context(classifier(chosen.form))
        request, other = stack.enter_context(bento(version, chosen.form))
        measured = in_turn(
            {
                ALONE: functools.partial(alone, best),
                OURS: functools.partial(
                    grpc_load.repeated,
                    call,
                    service,
                    in_flight=chosen.callers,
                    seconds=chosen.seconds,
                ),
                BENTO: functools.partial(
                    load.closed,
                    request,
                    other,
                    connections=chosen.callers,
                    seconds=chosen.seconds,
                ),
            },
            chosen.rounds,
        )
    tell(f"\n{chosen.form}, {chosen.callers} callers, medians of ratios (least to most)")
    rates = {name: [each.rate for each in found] for name, found in measured.items()}
    costs = {name: [each.cpu_us for each in found] for name, found in measured.items()}
    for other in (ALONE, BENTO):
        tell(f"classifier to {other}, texts a second: {ratio(rates[OURS], rates[other])}")
        tell(f"the same for a CPU second of what serves: {ratio(costs[other], costs[OURS])}")
    # Of all calls of a round.
    tails = [each.p99_ms / each.p50_ms for each in measured[OURS] if isinstance(each, Load)]
    tell(f"classifier's p99 to its median: {statistics.median(tails):.2f}")


if __name__ == "__main__":
    main()
