"""`fetch` as a process of its own, from a mirror in a folder and in S3, and what it keeps."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from meshkit import aliases, fetch, staging, store
from meshkit.mirror import Mirror
from meshkit.settings import reference
from mirrors import HERE, MODEL, add_version

PATIENCE_S = 60.0
IMAGES_PAGE = HERE.parents[1] / "docs" / "images.md"


@dataclass(frozen=True)
class Site:
    """A store that promotes, the mirror that it promotes through, and the store of a pod."""

    folder: Path
    url: str

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def pod(self) -> Path:
        return self.folder / "pod"

    def promote(self, alias: str = aliases.PRODUCTION) -> str:
        """Makes a version and promotes it, here and in the mirror."""
        version = add_version(self.home, self.folder)
        before = aliases.read(self.home, MODEL, alias)
        aliases.write(self.home, MODEL, version, name=alias, replaces=before)
        mirror = Mirror(self.url)
        mirror.push(self.home, MODEL, version)
        mirror.push_alias(self.home, MODEL, alias)
        return version

    def start(self, *arguments: str, **settings: object) -> subprocess.Popen[str]:
        """Starts `fetch` for the pod."""
        told: dict[str, object] = {
            "MESH_MODELS_URL": self.url,
            "MESH_MODELS_PATH": self.pod,
            "MESH_FETCH_MODEL": MODEL,
            "MESH_FETCH_INTERVAL_S": 0.05,
            **settings,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "meshkit.fetch", *arguments],
            env={**os.environ, **{name: str(value) for name, value in told.items()}},
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, **settings: object) -> tuple[int, str]:
        """Runs `fetch` to its end: its exit status, and what it has written."""
        process = self.start(**settings)
        _, said = process.communicate(timeout=PATIENCE_S)
        return process.returncode, said


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site whose mirror is an empty folder."""
    return Site(tmp_path, f"file://{tmp_path / 'mirror'}")


@pytest.fixture(params=["folder", "s3"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """A site with an empty mirror, in a folder or in S3."""
    url = f"file://{tmp_path / 'mirror'}"
    if request.param == "s3":
        url = f"{request.getfixturevalue('s3')}/{tmp_path.name}"
    return Site(tmp_path, url)


def until(true: Callable[[], bool]) -> None:
    """Polls until it is true."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def serves(home: Path) -> str | None:
    """The version that a service would serve."""
    try:
        return store.resolve(home, MODEL).name
    except store.NoVersion:
        return None


def test_it_brings_what_the_alias_names_and_ends(anywhere: Site) -> None:
    anywhere.promote()
    version = anywhere.promote()
    status, said = anywhere.run()
    assert status == 0, said
    assert f"here is classifier:{version}" in said
    assert serves(anywhere.pod) == version
    assert store.versions(anywhere.pod, MODEL) == [version]


def test_it_brings_another_alias(site: Site) -> None:
    site.promote()
    canary = site.promote("canary")
    status, said = site.run(MESH_FETCH_ALIAS="canary")
    assert status == 0, said
    assert store.resolve(site.pod, MODEL, "canary").name == canary
    assert serves(site.pod) is None


def test_it_brings_exactly_the_version_that_is_named(site: Site) -> None:
    first = site.promote()
    site.promote()
    status, said = site.run(MESH_FETCH_VERSION=first)
    assert status == 0, said
    assert store.open_version(site.pod, MODEL, first).name == first
    assert serves(site.pod) is None


def test_it_waits_for_the_first_promotion(site: Site) -> None:
    process = site.start()
    assert process.stderr
    assert "classifier@production was never set" in process.stderr.readline()
    version = site.promote()
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert serves(site.pod) == version


def test_it_gives_up_in_time_and_says_why_in_one_line(site: Site) -> None:
    status, said = site.run(MESH_FETCH_TIMEOUT_S=0.2)
    assert status == 2
    assert said == (
        f"classifier@production was never set in file://{site.folder}/mirror; promote a version "
        "there (`mesh models promote`), or name one (MESH_FETCH_VERSION)\n"
    )


def test_a_mirror_that_never_answers_is_given_up(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        status, said = site.run(
            MESH_MODELS_URL="s3://models",
            MESH_FETCH_TIMEOUT_S=1,
            AWS_ENDPOINT_URL=endpoint,
            AWS_ACCESS_KEY_ID="tester",
            AWS_SECRET_ACCESS_KEY="secret",
        )
    assert status == 2
    assert "nothing came within 1 s" in said.splitlines()[-1]


def test_where_the_mirror_is_away_it_settles_for_what_is_here(site: Site) -> None:
    version = site.promote()
    assert site.run()[0] == 0
    with socket.create_server(("127.0.0.1", 0)) as closed:
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
    status, said = site.run(
        MESH_MODELS_URL="s3://models",
        AWS_ENDPOINT_URL=endpoint,
        AWS_ACCESS_KEY_ID="tester",
        AWS_SECRET_ACCESS_KEY="secret",
        AWS_MAX_ATTEMPTS=1,
    )
    assert status == 0, said
    assert f"starting with {version}, which is here: s3://models can't be listed" in said


def test_a_pinned_version_that_is_here_needs_no_mirror(site: Site) -> None:
    version = site.promote()
    assert site.run(MESH_FETCH_VERSION=version)[0] == 0
    nowhere = f"file://{site.folder / 'nowhere'}"
    assert site.run(MESH_FETCH_VERSION=version, MESH_MODELS_URL=nowhere)[0] == 0


def test_a_damaged_version_is_not_waited_for(site: Site) -> None:
    version = site.promote()
    damaged = site.folder / "mirror" / "models" / MODEL / version / "vocabulary.txt"
    damaged.write_text("weeds")
    status, said = site.run()
    assert status == 2
    assert said.count("\n") == 1
    assert "vocabulary.txt is not what was pushed: its SHA-256 differs" in said
    assert store.versions(site.pod, MODEL) == []


def test_a_store_that_can_not_be_written_is_not_waited_for(site: Site) -> None:
    site.promote()
    (site.folder / "pod").write_text("no folder")
    status, said = site.run()
    assert status == 2
    assert f"{site.pod} can't be written" in said
    assert "mount a volume there" in said


def test_a_wrong_setting_is_named() -> None:
    settings = {"MESH_MODELS_PATH": "/models", "MESH_FETCH_MODEL": "m", "MESH_FETCH_INTERVAL": "1"}
    ran = subprocess.run(
        [sys.executable, "-m", "meshkit.fetch"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith("unknown setting MESH_FETCH_INTERVAL; this process knows ")


def test_it_follows_the_alias_until_it_is_ended(anywhere: Site) -> None:
    process = anywhere.start("--follow")
    try:
        versions = []
        for _ in range(3):
            version = anywhere.promote()
            until(lambda wanted=version: serves(anywhere.pod) == wanted)  # type: ignore[misc]  # mypy sees no default in a lambda
            versions.append(version)
        until(lambda: store.versions(anywhere.pod, MODEL) == sorted(versions[1:]))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.communicate()


def test_it_follows_on_when_the_mirror_is_back(site: Site) -> None:
    process = site.start("--follow")
    assert process.stderr
    try:
        first = site.promote()
        until(lambda: serves(site.pod) == first)
        mirror, aside = site.folder / "mirror" / "aliases", site.folder / "aside"
        damaged = mirror / MODEL / "production" / "00000002.json"
        damaged.write_text("{")
        while "00000002.json is damaged" not in (line := process.stderr.readline()):
            assert line
        damaged.rename(aside)
        second = site.promote()
        until(lambda: serves(site.pod) == second)
    finally:
        process.kill()
        process.communicate()


def test_wherever_it_is_killed_the_next_one_makes_it_whole(site: Site) -> None:
    # More than one chunk, so that it is killed within a file, too.
    version = add_version(site.home, site.folder, b"0123456789abcdef" * 2**20)
    aliases.write(site.home, MODEL, version, replaces=None)
    Mirror(site.url).push(site.home, MODEL, version)
    Mirror(site.url).push_alias(site.home, MODEL, "production")
    step = 1
    while _killed_at(step, site):
        assert serves(site.pod) is None
        assert store.versions(site.pod, MODEL) == []
        step += 1
    assert step > 3  # before each file, and within the large one
    other = Site(site.folder / "other", site.url)
    _killed_at(2, other)
    status, said = other.run()
    assert status == 0, said
    assert serves(other.pod) == version
    assert not list((staging.folder(other.pod) / "models").glob("*/*"))


def _killed_at(step: int, site: Site) -> bool:
    """Runs it and kills it at a step; False when it had fewer, and so brought the version."""
    command = [sys.executable, str(HERE / "mirror_process.py"), site.url, str(site.pod)]
    with subprocess.Popen(
        [*command, "fetch", "production", str(step)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout
        word = running.stdout.readline().strip()
        running.kill()
    assert word in ("there", "done")
    return word == "there"


def test_what_no_alias_has_named_and_what_another_one_names_stays(site: Site) -> None:
    named = [site.promote() for _ in range(4)]
    canary = named[0]
    aliases.write(site.home, MODEL, canary, name="canary", replaces=None)
    trained = add_version(site.home, site.folder)
    settings = fetch.Settings(models_url=site.url, models_path=site.home, model=MODEL)
    assert fetch.prune(settings) == [named[1]]
    assert store.versions(site.home, MODEL) == sorted([canary, *named[2:], trained])
    assert fetch.prune(settings) == []


def test_its_settings_are_documented() -> None:
    assert reference(fetch.Settings) in IMAGES_PAGE.read_text()
