import re
import stat
import subprocess
from pathlib import Path

import pytest

from mesh_cli import image_build, images
from mesh_cli.failures import Failure
from mesh_cli.images import Source
from mesh_cli.rooms import IMAGE, Room, image_base, requirement_name, room, rooms

DEPLOYABLES = [each for each in rooms() if IMAGE in each.extras]
_PIN = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)


def git(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    ran = subprocess.run(
        ["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True
    )
    return ran.stdout.strip()


@pytest.fixture
def echo(tmp_path: Path) -> Room:
    """A room of a small tree without git."""
    folder = tmp_path / "services" / "echo"
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "mesh-echo"\nversion = "0.3.0"\ndescription = "Says it again"\n'
        '[project.optional-dependencies]\nimage = ["s3fs"]\n'
    )
    return Room("services/echo", tmp_path)


@pytest.fixture
def committed(echo: Room) -> Room:
    """The same with a commit."""
    git(echo.root, "init")
    git(echo.root, "add", ".")
    git(echo.root, "commit", "-m", "a", "--date", "2026-01-02T03:04:05+00:00")
    return echo


def test_what_serves_has_an_image() -> None:
    assert images.names() == ["gateway", "classifier", "embedder", "llm"]
    assert images.large() == ["llm"]


def test_without_git_the_version_alone_is_known(echo: Room) -> None:
    assert images.source(echo) == Source("0.3.0", "unknown", "1970-01-01T00:00:00Z")


def test_before_the_first_release_the_version_names_the_commit(committed: Room) -> None:
    revision = git(committed.root, "rev-parse", "HEAD")
    created = git(committed.root, "show", "--no-patch", "--format=%cI", "HEAD")
    assert images.source(committed) == Source(f"0.3.0-g{revision[:7]}", revision, created)
    (committed.path / "pyproject.toml").write_text(
        (committed.path / "pyproject.toml").read_text() + "#"
    )
    assert images.source(committed).version == f"0.3.0-g{revision[:7]}-dirty"


def test_a_release_is_called_by_its_tag_and_what_follows_by_its_distance(committed: Room) -> None:
    git(committed.root, "tag", "--annotate", "v0.3.1", "--message", "a")
    assert images.source(committed).version == "0.3.1"
    git(committed.root, "commit", "--allow-empty", "-m", "b")
    abbreviated = git(committed.root, "rev-parse", "--short", "HEAD")
    assert images.source(committed).version == f"0.3.1-1-g{abbreviated}"


def test_a_build_is_told_the_room_and_what_the_labels_say(echo: Room) -> None:
    words = images.command(echo, "inference-mesh/echo:1", "buildah build --layers", "gpu", {})
    assert words == [
        *("buildah", "build", "--layers"),
        *("--build-arg", "ROOM=services/echo"),
        *("--build-arg", "ACCELERATOR=cpu"),  # it has no build for GPUs
        *("--build-arg", "TITLE=inference-mesh/echo"),
        *("--build-arg", "DESCRIPTION=Says it again"),
        *("--build-arg", "VERSION=0.3.0"),
        *("--build-arg", "REVISION=unknown"),
        *("--build-arg", "CREATED=1970-01-01T00:00:00Z"),
        *("--tag", "inference-mesh/echo:1", "."),
    ]


def test_the_way_to_the_packages_is_handed_over_unseen(echo: Room) -> None:
    environment = {"PIP_INDEX_URL": "https://user:secret@index.example/simple", "HTTP_PROXY": ""}
    words = images.command(echo, "echo:1", "docker build", "cpu", environment)
    assert words[-5:] == ["--build-arg", "PIP_INDEX_URL", "--tag", "echo:1", "."]


def test_what_a_room_needs_of_debian_is_told_where_it_needs_any(echo: Room) -> None:
    words = images.command(room("services/llm"), "llm:1", "docker build", "cpu", {})
    assert "SYSTEM_PACKAGES=g++ libnuma1 python3-dev" in words
    others = images.command(echo, "echo:1", "docker build", "cpu", {})
    assert not [word for word in others if word.startswith("SYSTEM_PACKAGES")]


@pytest.mark.parametrize(("accelerator", "suffix"), [("cpu", ""), ("gpu", "-gpu")])
def test_the_images_are_named(accelerator: str, suffix: str) -> None:
    built = images.build([], builder="true", accelerator=accelerator, tag="1")
    services = [f"inference-mesh/{name}:1{suffix}" for name in ("classifier", "embedder")]
    assert built == ["inference-mesh/gateway:1", *services]


def test_what_takes_gigabytes_is_built_when_it_is_named() -> None:
    assert images.build(["llm"], builder="true", tag="1") == ["inference-mesh/llm:1"]


@pytest.mark.parametrize(
    ("name", "builder", "said"),
    [
        (
            "weather",
            "true",
            "no image is called 'weather': choose one of gateway, classifier, embedder, llm",
        ),
        ("gateway", "false", "false failed with status 1: its own words are above"),
        ("gateway", "no-such-builder build", "there is no no-such-builder: install it"),
    ],
)
def test_what_is_wrong_is_said(name: str, builder: str, said: str) -> None:
    with pytest.raises(Failure, match=said):
        images.build([name], builder=builder)


def test_an_image_holds_the_rooms_that_it_is_made_of() -> None:
    assert image_build.folders(room("services/classifier")) == [
        "./meshkit",
        "./protos",
        "./services/classifier",
    ]
    assert image_build.folders(room("services/llm")) == ["./meshkit", "./protos", "./services/llm"]
    assert image_build.folders(room("gateway")) == ["./cli", "./gateway", "./meshkit", "./protos"]


def test_the_programs_of_an_image_can_be_run(tmp_path: Path) -> None:
    image_build.write_programs(room("services/classifier"), tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {"fetch", "serve"}
    for each in tmp_path.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) == 0o755
        subprocess.run(["sh", "-n", each], check=True)
    assert "MESH_FETCH_MODEL:-classifier" in (tmp_path / "fetch").read_text()
    assert 'exec /app/bin/python -m mesh_classifier "$@"' in (tmp_path / "serve").read_text()


def pins(path: Path) -> dict[str, set[str]]:
    """The versions that a compiled file names of each package; several where markers choose."""
    found: dict[str, set[str]] = {}
    for name, version in _PIN.findall(path.read_text()):
        found.setdefault(name, set()).add(version)
    return found


@pytest.mark.parametrize("deployable", DEPLOYABLES, ids=lambda each: each.name)
def test_an_image_serves_with_the_versions_that_were_tested(deployable: Room) -> None:
    told = deployable.pyproject.get("tool", {}).get("mesh", {})
    tested = pins(image_base(deployable).requirements(dev=False))
    image = pins(deployable.path / "requirements-image-cpu.txt")
    assert {name: image[name] for name in tested if name in image}.items() <= tested.items()
    missing = {*tested} - {*image}
    # What is left out takes along what it alone asked for.
    assert bool(missing) == bool(told.get("without")), missing
    for left_out in told.get("without", {}):
        assert left_out in missing


@pytest.mark.parametrize("deployable", DEPLOYABLES, ids=lambda each: each.name)
def test_the_build_for_gpus_differs_by_what_the_room_says(deployable: Room) -> None:
    replaced = deployable.pyproject.get("tool", {}).get("mesh", {}).get("gpu", {})
    compiled = deployable.path / "requirements-image-gpu.txt"
    assert compiled.exists() == bool(replaced)
    if replaced:
        cpu, gpu = pins(deployable.path / "requirements-image-cpu.txt"), pins(compiled)
        # Another package, or another version of the same.
        moved = {name for name, instead in replaced.items() if requirement_name(instead) == name}
        assert {*cpu} - {*gpu} >= {*replaced} - moved
        # Where markers choose, one of the versions may have nobody left to ask for it.
        assert {name for name in cpu if name in gpu and not gpu[name] & cpu[name]} == moved


@pytest.mark.parametrize("deployable", DEPLOYABLES, ids=lambda each: each.name)
def test_the_files_of_an_image_are_hashed_and_name_no_place(deployable: Room) -> None:
    for path in deployable.path.glob("requirements-image-*.txt"):
        text = path.read_text()
        assert text.count("--hash=sha256:") > len(pins(path))
        assert "://" not in text
        assert "/tmp" not in text
