"""What a stranger does with a fresh checkout, in order; each test builds on the one before."""

import json
import socket
import subprocess
import time
from collections.abc import Callable

import pytest
from end_to_end.clone import Clone

PATIENCE_S = 60.0
LABELS = {"negative", "neutral", "positive"}


def curl_lines(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("curl ")]


def paste(line: str) -> dict[str, object]:
    """What a shell makes of the line; the answer, parsed."""
    ran = subprocess.run(line, shell=True, capture_output=True, text=True, check=True, timeout=60)
    answer = json.loads(ran.stdout)
    assert isinstance(answer, dict)
    return answer


def check_answer(answer: dict[str, object]) -> None:
    results, lineage = answer["results"], answer["lineage"]
    assert isinstance(results, list)
    assert len(results) == 2
    for result in results:
        assert result["label"] in LABELS
        assert set(result["probabilities"]) == LABELS
        assert abs(sum(result["probabilities"].values()) - 1) < 1e-3
        assert -4 <= result["valence"] <= 4
    assert isinstance(lineage, dict)
    assert lineage["model"] == "classifier"
    assert all(lineage[name] for name in ("version", "variant", "run", "deployment"))


def eventually(true: Callable[[], bool], what: str) -> None:
    """Waits for a condition that other processes bring about."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE_S} s"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def curl(clone: Clone) -> str:
    """The curl line that the first `make up` prints."""
    (line,) = curl_lines(clone.make("up"))
    return line


def test_the_curl_line_works_when_pasted(curl: str) -> None:
    check_answer(paste(curl))


def test_status_and_logs_show_each_process(clone: Clone, curl: str) -> None:
    shown = clone.make("status")
    logs = clone.make("logs")
    for name in ("redis", "classifier", "embedder", "gateway"):
        assert f"{name} " in shown
        assert f"{name} " in logs
    assert shown.count("RUNNING") == 4


def test_a_second_up_starts_and_trains_nothing_and_keeps_the_key(clone: Clone, curl: str) -> None:
    before = {name: process.pid for name, process in clone.processes().items()}
    output = clone.make("up")
    assert curl_lines(output) == [curl]
    assert "install" not in output
    assert {name: process.pid for name, process in clone.processes().items()} == before


def test_a_killed_classifier_comes_back_alone(clone: Clone, curl: str) -> None:
    before = clone.processes()
    before["mesh_classifier"].kill()

    def answers_again() -> bool:
        now = clone.processes().get("mesh_classifier")
        if now is None or now.pid == before["mesh_classifier"].pid:
            return False
        return "results" in paste(curl)

    eventually(answers_again, "the classifier's return")
    check_answer(paste(curl))
    after = clone.processes()
    for name in ("supervisord", "redis-server", "mesh_embedder", "mesh_gateway"):
        assert after[name].pid == before[name].pid


def test_up_recovers_what_a_killed_supervisor_left_behind(clone: Clone, curl: str) -> None:
    before = clone.processes()
    before["supervisord"].kill()
    eventually(lambda: not before["supervisord"].is_running(), "the supervisor's end")
    assert "its supervisor is gone" in clone.make("status", status=2)
    assert curl_lines(clone.make("up")) == [curl]
    check_answer(paste(curl))
    assert not [name for name, process in before.items() if process.is_running()]


def test_down_leaves_no_process_and_the_next_up_needs_no_training(clone: Clone, curl: str) -> None:
    assert "The mesh is down." in clone.make("down")
    assert clone.processes() == {}
    assert "the mesh is down: make up starts it" in clone.make("status", status=2)
    assert "The mesh was not up." in clone.make("down")
    output = clone.make("up")
    assert "install" not in output
    assert "train" not in output
    assert curl_lines(output) == [curl]
    check_answer(paste(curl))
    clone.make("down")


@pytest.mark.parametrize("setting", ["MESH_GATEWAY_HTTP_PORT", "MESH_REDIS_PORT"])
def test_a_taken_port_is_one_clear_line(clone: Clone, curl: str, setting: str) -> None:
    clone.make("down")
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", int(clone.variables[setting])))
        holder.listen()
        output = clone.make("up", status=2)
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert f"port {clone.variables[setting]} is taken by" in line
    assert f"set {setting} to another" in line
    assert "Traceback" not in output
    assert clone.processes() == {}
