"""What `make check` runs: style, types, the rules between the rooms, and the contracts."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mesh_cli import chart_checks, environments, rule_checks
from mesh_cli.failures import Failure
from mesh_cli.progress import Step
from mesh_cli.rooms import ENGINE, ROOT, TRAINING, Environment, rooms
from mesh_cli.rooms import environments as every_environment
from mesh_cli.rooms import room as room_called


@dataclass(frozen=True)
class Check:
    """A command that passes with exit status 0."""

    name: str
    command: tuple[str, ...]
    folder: Path = ROOT
    variables: Mapping[str, str] = field(default_factory=dict)


def run() -> None:
    """Runs every check to its end, then shows what the failed ones said.

    Raises:
        Failure: a check failed, or an environment could not be installed.
    """
    environments.sync_all(checked(), dev=True)
    failed = {}
    checks = list(all_checks())
    for check in checks:
        said = _said_when_failed(check)
        if said is not None:
            failed[check.name] = said
    stubs = committed_stubs(ROOT)
    if stubs:
        failed["no committed stubs"] = "generated, so not to be committed: " + ", ".join(stubs)
    for name, said in failed.items():
        print(f"\n--- {name}\n{said.rstrip()}")  # noqa: T201  # the output of this command
    if failed:
        raise Failure(f"{len(failed)} of {len(checks) + 1} checks failed: {', '.join(failed)}")
    print(f"all {len(checks) + 1} checks passed")  # noqa: T201  # the output of this command


def all_checks() -> Iterator[Check]:
    """Every check that is a command, in the order of their speed."""
    tools = Environment(room_called("cli")).path / "bin"
    brief = ("--no-cache", "--output-format", "concise")
    yield Check("ruff check", (str(tools / "ruff"), "check", *brief, "."))
    yield Check("ruff format", (str(tools / "ruff"), "format", "--check", *brief, "."))
    yield Check("buf lint", (str(tools / "buf"), "lint", "protos"))
    release = last_release(ROOT)
    if release:
        against = f".git#tag={release},subdir=protos"
        yield Check(
            "buf breaking", (str(tools / "buf"), "breaking", "protos", "--against", against)
        )
    # Static: it reads the sources of every room side by side and runs none of them.
    sources = [str(room.path / "src") for room in rooms()] + [str(ROOT / "protos" / "gen")]
    yield Check(
        "import-linter",
        (str(tools / "lint-imports"), "--no-cache", "--no-logo"),
        variables={"PYTHONPATH": os.pathsep.join(sources)},
    )
    yield Check("hadolint", (str(tools / "hadolint"), "--no-color", "Dockerfile"))
    yield Check("promtool", rule_checks.COMMAND)
    yield from (Check(name, *command) for name, command in chart_checks.commands().items())
    for environment in checked():
        yield mypy(environment)


def checked() -> Iterator[Environment]:
    """Where types are checked; an engine of gigabytes is not worth an installation for that."""
    return (each for each in every_environment() if each.extra != ENGINE)


def mypy(environment: Environment) -> Check:
    """The strict type check of a room in its environment.

    What a service learns with is checked where it can be imported: in the training environment.
    """
    room = environment.room
    exclude: list[str] = []
    if environment.extra == TRAINING:
        patterns = [f"src/*/{TRAINING}", f"tests/{TRAINING}"]
    elif room.builds:
        patterns = ["src", "tests", "*.py"]
        exclude = ["--exclude", f"(^|/){TRAINING}/"] if TRAINING in room.extras else []
    else:
        patterns = ["[!.]*/", "*.py"]
    found = [path for pattern in patterns for path in sorted(room.path.glob(pattern))]
    targets = [path.relative_to(room.path).as_posix() for path in found if _has_code(path)]
    config = ("--config-file", str(ROOT / "mypy.ini"))
    cache = ("--cache-dir", str(environment.path / "mypy-cache"))
    # Where its modules and the helpers of its tests are found, as pytest finds them.
    places = dict.fromkeys(["src", "tests", *room.pytest_options.get("pythonpath", [])])
    return Check(
        f"mypy {environment.name}",
        (str(environment.python), "-m", "mypy", *config, *cache, *exclude, *targets),
        room.path,
        {"MYPYPATH": os.pathsep.join(places)},
    )


def _has_code(path: Path) -> bool:
    """Whether there is a module of this room: a room within has checks of its own."""
    if path.is_file():
        return True
    return any(path.rglob("*.py")) and not any(path.glob("*/pyproject.toml"))


def last_release(root: Path) -> str | None:
    """The release tag that the current commit builds on; None before the first."""
    described = _git(root, "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*")
    return described.stdout.strip() if described.returncode == 0 else None


def committed_stubs(root: Path) -> list[str]:
    """The generated protobuf modules that git tracks.

    Raises:
        Failure: this is no git repository.
    """
    tracked = _git(root, "ls-files", "--", "*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py*")
    if tracked.returncode:
        raise Failure(f"git can't list the files of {root}: {tracked.stderr.strip()}")
    return tracked.stdout.split()


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
    )


def _said_when_failed(check: Check) -> str | None:
    """Runs a check; what it said when it failed, None when it passed."""
    try:
        with Step(check.name):
            ran = subprocess.run(
                check.command,
                cwd=check.folder,
                env={**os.environ, **check.variables},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            if ran.returncode:
                raise Failure(ran.stdout + ran.stderr)
    except Failure as failure:
        return str(failure)
    return None
