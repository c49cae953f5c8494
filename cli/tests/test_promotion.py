"""Promotions with a real server: what each gate finds, and what is kept of it."""

import asyncio
import json
import subprocess
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from mesh_cli import models_serving
from mesh_cli.models_replicas import Replica
from mesh_cli.promotion import gates, server
from mesh_cli.promotion.outcomes import Outcome, Verdict
from mesh_cli.promotion.policy import Case, Golden, Load, Policy
from mesh_cli.rooms import ROOT, Environment, room
from mesh_cli.settings import Site
from meshkit import aliases, store
from meshkit.errors import StartError
from small_versions import LABELS, MODEL, add_version
from test_lifecycle import eventually
from test_models_commands import A1, B2, Mesh

BOUNDS = Policy(
    test_part=[],
    metrics={},
    parity={"max_logit_difference": 1e-4},
    batch_invariance={"fp32": {"flipped_share": 0.0}},
    load=Load(calls=200, callers=16, texts_per_call=4),
)
PRAISE = Case("praise", "A good, good thing", label="positive")
COMPLAINT = Case("complaint", "a bad, bad thing", label="negative", at_least={"negative": 0.9})


def outcomes(site: Site, *cases: Case, version: str = A1) -> dict[str, Outcome]:
    opened = store.open_version(site.models, MODEL, version)
    candidate = gates.Candidate(opened, None, "", BOUNDS, Golden(list(cases)))
    return {outcome.gate: outcome for outcome in gates.run(site, candidate)}


@pytest.fixture
def site(site: Site, tmp_path: Path) -> Site:
    """A site with one version of which nothing is in production."""
    add_version(site.models, tmp_path / "files", A1)
    return site


def test_a_sound_version_passes_every_gate(site: Site) -> None:
    found = outcomes(site, PRAISE, COMPLAINT)
    assert {gate: outcome.verdict for gate, outcome in found.items()} == {
        "files": Verdict.PASSED,
        "metrics": Verdict.SKIPPED,
        "parity": Verdict.PASSED,
        "batch invariance": Verdict.PASSED,
        "golden set": Verdict.PASSED,
        "server": Verdict.PASSED,
    }
    assert found["golden set"].summary == "2 of 2 cases"
    figures = found["server"].figures
    assert (figures["calls"], figures["callers"], figures["faults"]) == (200, 16, 0)
    assert figures["texts"] > 200
    assert figures["p99_ms"] >= figures["p50_ms"] > 0
    left = psutil.Process().children(recursive=True)
    assert [each for each in left if "mesh_classifier" in " ".join(each.cmdline())] == []


def test_a_wrong_answer_to_a_golden_case_is_named_with_its_figures(site: Site) -> None:
    wrong = Case("irony", "a bad thing", label="positive", at_most={"negative": 0.5})
    found = outcomes(site, PRAISE, wrong)
    golden = found["golden set"]
    assert golden.verdict is Verdict.FAILED
    assert golden.summary == (
        "'irony': is negative instead of positive, negative above 0.5 "
        "(negative 0.87, neutral 0.12, positive 0.02)"
    )
    assert golden.figures["passed"] == 1
    assert found["server"].verdict is Verdict.PASSED  # every gate runs


def test_a_version_that_can_not_be_served_fails_with_the_servers_words(
    site: Site, tmp_path: Path
) -> None:
    add_version(site.models, tmp_path / "files", B2, thresholds={"negative": 0.5})
    found = outcomes(site, PRAISE, version=B2)
    for gate in ("golden set", "server"):
        assert found[gate].verdict is Verdict.FAILED
        assert "the server ends: " in found[gate].summary
        assert "thresholds" in found[gate].summary


def test_a_version_with_unsafe_files_is_not_opened(site: Site) -> None:
    opened = store.open_version(site.models, MODEL, A1)
    opened.file("config.json").write_bytes(b"\x80\x04N.")
    candidate = gates.Candidate(opened, None, "", BOUNDS, Golden([PRAISE]))
    found = {outcome.gate: outcome for outcome in gates.run(site, candidate)}
    assert found["files"].verdict is Verdict.FAILED
    for gate in ("golden set", "server"):
        assert found[gate].verdict is Verdict.FAILED
        assert found[gate].summary == "its files are not safe to open"


def test_promote_runs_every_gate_and_moves_nothing_when_one_fails(site: Site) -> None:
    mesh = Mesh(site)
    # The small version knows three words, so the real golden set is beyond it.
    assert f"classifier:{A1} is not promoted, it fails: golden set" in mesh.refused(
        "promote", f"classifier:{A1}", "--json"
    )
    assert aliases.read(site.models, MODEL) is None

    assert "--force needs a reason" in mesh.refused("promote", f"classifier:{A1}", "--force", " ")
    told = json.loads(mesh.run("promote", f"classifier:{A1}", "--force", "a rehearsal", "--json"))
    assert told["promoted"] is True
    move = aliases.read(site.models, MODEL)
    assert move is not None
    assert (move.number, move.version, move.reason) == (1, A1, "forced: a rehearsal")
    assert move.details["forced"] is True
    assert move.details["gates"] == told["gates"]
    verdicts = {gate["gate"]: gate["verdict"] for gate in told["gates"]}
    assert verdicts["metrics"] == "skipped"
    assert verdicts["golden set"] == "failed"
    assert verdicts["server"] == "passed"
    assert "names classifier:" in mesh.refused("promote", f"classifier:{A1}")


def test_who_comes_second_is_told(site: Site, tmp_path: Path) -> None:
    mesh = Mesh(site)
    process = mesh.start("promote", f"classifier:{A1}", "--force", "mine")
    assert process.stderr
    while "ask a server" not in process.stderr.readline():
        assert process.poll() is None
    # The gates run, so it has decided what it replaces.
    add_version(site.models, tmp_path / "files", B2)
    theirs = aliases.write(site.models, MODEL, B2, replaces=None, reason="theirs")
    _, err = process.communicate()
    assert process.returncode == 1
    assert "classifier@production was moved by somebody else meanwhile" in err
    assert aliases.read(site.models, MODEL) == theirs
    assert aliases.numbers(site.models, MODEL) == [1]


def test_a_promotion_may_say_which_move_it_follows(site: Site, tmp_path: Path) -> None:
    add_version(site.models, tmp_path / "files", B2)
    aliases.write(site.models, MODEL, B2, replaces=None)
    mesh = Mesh(site)
    assert "is at number 1 by now, and not at 0" in mesh.refused(
        "promote", f"classifier:{A1}", "--replaces", "0"
    )


def test_a_damaged_version_is_not_promoted_even_by_force(site: Site) -> None:
    (site.models / "models" / MODEL / A1 / "config.json").write_text("{}")
    assert "config.json has SHA-256" in Mesh(site).refused(
        "promote", f"classifier:{A1}", "--force", "anyway"
    )
    assert aliases.read(site.models, MODEL) is None


def test_a_promotion_is_in_the_mirror_before_it_is_here(site: Site, tmp_path: Path) -> None:
    url = {"MESH_MODELS_URL": str(tmp_path / "mirror")}
    here = Mesh(Site.load({**site.process_environment(), **url}))
    here.run("promote", f"classifier:{A1}", "--force", "a rehearsal")
    folder = {"MESH_MODELS_PATH": str(tmp_path / "other")}
    other = Mesh(Site.load({**site.process_environment(), **url, **folder}))
    other.run("pull")
    assert aliases.read(other.home, MODEL) == aliases.read(site.models, MODEL)
    assert store.resolve(other.home, MODEL).record["labels"] == LABELS


def test_a_trained_version_passes_what_it_was_built_for(site: Site, tmp_path: Path) -> None:
    """The whole way with the version that the repository has in production, where it has one."""
    home = ROOT / ".mesh" / "models"
    try:
        trained = store.resolve(home, MODEL)
    except StartError:
        pytest.skip("no classifier has been trained here: make up trains one")
    mesh = Mesh(site)
    mesh.home.joinpath("models").mkdir(parents=True, exist_ok=True)
    archive = tmp_path / "trained.zip"
    Mesh(Site.load({**site.environment, "MESH_MODELS_PATH": str(home)})).run(
        "export", f"classifier:{trained.name}", str(archive)
    )
    mesh.run("import", str(archive))
    told = json.loads(
        mesh.run("promote", f"classifier:{trained.name}", "--force", "a rehearsal", "--json")
    )
    verdicts = {gate["gate"]: gate["verdict"] for gate in told["gates"]}
    for gate in ("files", "parity", "batch invariance", "server"):
        assert verdicts[gate] == "passed"
    server = next(gate["figures"] for gate in told["gates"] if gate["gate"] == "server")
    assert (server["calls"], server["faults"]) == (1000, 0)
    golden = next(gate["figures"] for gate in told["gates"] if gate["gate"] == "golden set")
    assert golden["passed"] >= 0.9 * golden["cases"]
    assert store.resolve(site.models, MODEL).name == trained.name


def test_show_tells_what_a_serving_process_says(site: Site) -> None:
    async def ask() -> Replica:
        async with server.serving(site, MODEL, A1) as client:
            (endpoint,) = client.endpoints.all
            told = {"MESH_GATEWAY_CLASSIFIER_TARGET": endpoint.address}
            asked = Site.load({**site.environment, **told})
            (said,) = await asyncio.to_thread(models_serving.ask, asked, MODEL)
            return said

    replica = asyncio.run(ask())
    assert (replica.version, replica.precision, replica.fault) == (A1, "fp32", "")
    assert datetime.fromisoformat(replica.since).tzinfo is not None


def test_show_tells_what_a_serving_process_refuses(site: Site, tmp_path: Path) -> None:
    first = aliases.write(site.models, MODEL, A1, replaces=None)
    command = [str(Environment(room("services/classifier")).python), "-m", "mesh_classifier"]
    with subprocess.Popen(
        command, env=site.process_environment(), stderr=subprocess.DEVNULL
    ) as live:
        try:
            eventually(lambda: asked(site).version == A1, "an answer")
            add_version(site.models, tmp_path / "files", B2, thresholds={"negative": 0.5})
            aliases.write(site.models, MODEL, B2, replaces=first)
            eventually(lambda: asked(site).refused == B2, "a refusal")
            assert asked(site).version == A1  # which goes on
            page = Mesh(site).run("show", f"classifier:{B2}")
            (line,) = (line for line in page.splitlines() if f"refuses {B2}: " in line)
            assert "thresholds" in line
        finally:
            live.kill()


def asked(site: Site) -> Replica:
    (replica,) = models_serving.ask(site, MODEL)
    return replica
