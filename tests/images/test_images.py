"""The images as they are built: what is in them, what is not, and the mesh that they make."""

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from real_mesh import PATIENCE_S, Answer, Mesh, free_ports, trained_models

from images import containers
from images.containers import Container, Volume

pytestmark = pytest.mark.full

NAMES = ("classifier", "embedder", "gateway")
MOST_BYTES = 400 * 10**6
TEXTS = ["A quiet film that stays with you.", "The plot goes nowhere, slowly."]
HASHING_KEY = "/models/hashing.key"
"""In a volume that the images' user may write to, where there is no store beside it."""


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    """The images, as `make images` builds them."""
    if not containers.is_running():
        pytest.skip("Docker does not answer: start it (`systemctl start docker`, or `dockerd &`)")
    containers.build()


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """The name of an image."""
    chosen: str = request.param
    return chosen


def installed(name: str) -> dict[str, str]:
    """The distributions that Python finds in an image, with their versions."""
    listing = "; ".join(
        (
            "import importlib.metadata as metadata, json",
            "found = {each.name: each.version for each in metadata.distributions()}",
            "print(json.dumps(found))",
        )
    )
    ran = containers.once(name, "-c", listing, program="/app/bin/python")
    found: dict[str, str] = json.loads(ran.stdout)
    return found


def test_an_image_is_small(name: str) -> None:
    assert containers.inspect(name)["Size"] < MOST_BYTES


def test_an_image_says_what_it_is(name: str) -> None:
    labels = containers.inspect(name)["Config"]["Labels"]
    told = {key.removeprefix("org.opencontainers.image."): value for key, value in labels.items()}
    assert told["title"] == f"inference-mesh/{name}"
    assert len(told["description"]) > 20
    assert told["licenses"] == "Apache-2.0"
    assert told["version"].startswith("0.")
    assert len(told["revision"]) == 40
    assert "T" in told["created"]
    assert "python" in told["base.name"]


def test_an_image_leaves_health_and_user_to_no_one_else(name: str) -> None:
    config = containers.inspect(name)["Config"]
    assert config["User"] == "10001:10001"
    assert config.get("Healthcheck") is None
    assert config["Entrypoint"] == ["/app/bin/serve"]
    assert not config.get("Volumes")


def test_nothing_in_an_image_builds_or_installs(name: str) -> None:
    tools = "pip pip3 uv uvx gcc cc g++ c++ clang make ld git curl wget"
    script = f"for each in {tools}; do command -v $each; done; python3 -m pip; python -m pip; true"
    ran = containers.once(name, "-c", script, program="/bin/sh")
    assert ran.stdout == ""
    assert ran.stderr.count("No module named pip") == 2
    assert not {"pip", "setuptools", "wheel", "uv", "cyclonedx-bom"} & {*installed(name)}


def test_the_bill_of_materials_is_what_is_installed(name: str) -> None:
    ran = containers.once(name, "/app/sbom.cdx.json", program="/bin/cat")
    bill: dict[str, Any] = json.loads(ran.stdout)
    assert bill["bomFormat"] == "CycloneDX"
    listed = {each["name"]: each["version"] for each in bill["components"]}
    assert listed == installed(name)


def test_all_code_is_compiled(name: str) -> None:
    """Nothing can be written at run time, so what is not compiled is compiled at every start."""
    script = (
        "find /app/lib -name '*.py' -path '*mesh*' | while read each; do "
        'ls "${each%/*}/__pycache__/$(basename "$each" .py)".*.pyc >/dev/null || echo "$each"; done'
    )
    assert containers.once(name, "-c", script, program="/bin/sh").stdout == ""


@pytest.mark.parametrize(
    ("command", "argument"), [("up", ""), ("env", "gateway"), ("models train", "classifier")]
)
def test_what_needs_a_checkout_says_so(command: str, argument: str) -> None:
    words = f"{command} {argument}".split()
    ran = containers.once("gateway", *words, program="mesh")
    assert ran.returncode == 1
    assert ran.stderr == (
        f"error: mesh {command} needs a checkout of the repository, and this command was installed "
        f"without one: run cli/mesh {command} in a checkout\n"
    )


def test_the_versions_of_a_store_can_be_listed() -> None:
    ran = containers.once(
        "gateway",
        *("models", "list", "--json"),
        program="mesh",
        environment={"MESH_MODELS_PATH": "/models"},
        mounts={str(trained_models()): "/models:ro"},
    )
    (version,) = [each for each in json.loads(ran.stdout)["versions"] if each["aliases"]]
    assert version["aliases"] == ["production"]


class Images:
    """A classifier and a gateway in containers.

    Args:
        redis_url: of the Redis.
        models: the folder or volume with the classifier's models.
        secrets: the volume with the hashing key.
    """

    def __init__(self, redis_url: str, models: str, secrets: Volume) -> None:
        self.http_port, *others = free_ports(5)
        grpc_port, admin_port, classifier_port, classifier_admin_port = others
        shared = {"MESH_BIND_ADDRESS": "127.0.0.1", "MESH_DEPLOYMENT": "images"}
        self.classifier = Container(
            "classifier",
            {
                **shared,
                "MESH_CLASSIFIER_GRPC_PORT": classifier_port,
                "MESH_CLASSIFIER_ADMIN_PORT": classifier_admin_port,
            },
            {models: "/models:ro"},
        )
        self.gateway = Container(
            "gateway",
            {
                **shared,
                "MESH_REDIS_URL": redis_url,
                "MESH_HASHING_KEY_PATH": HASHING_KEY,
                "MESH_GATEWAY_HTTP_PORT": self.http_port,
                "MESH_GATEWAY_GRPC_PORT": grpc_port,
                "MESH_GATEWAY_ADMIN_PORT": admin_port,
                "MESH_GATEWAY_CLASSIFIER_TARGET": f"127.0.0.1:{classifier_port}",
            },
            {secrets.name: "/models"},
        )

    def ask(self, method: str, path: str, body: object = None, key: str = "") -> Answer:
        """An answer; with status 0 where none comes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=PATIENCE_S)
        headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
        try:
            connection.request(method, path, json.dumps(body), headers)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        except OSError:
            return Answer(0, {}, b"{}")
        finally:
            connection.close()

    def wait(self) -> None:
        """Waits until the gateway reaches the classifier."""
        give_up_at = time.monotonic() + PATIENCE_S
        while self.ask("GET", "/ready").json.get("backends", {}).get("classifier") != "ready":
            for each in (self.gateway, self.classifier):
                assert not each.ended, each.log
            assert time.monotonic() < give_up_at, self.gateway.log + self.classifier.log
            time.sleep(0.1)

    def check(self) -> str:
        """Makes a key in the gateway, as `kubectl exec` does, and classifies; the request's id."""
        key = self.gateway.run("mesh", "keys", "create", "caller").strip()
        answer = self.ask("POST", "/v1/classify", {"texts": TEXTS}, key)
        assert answer.status == 200, answer.body
        assert [each["label"] for each in answer.json["results"]] == ["positive", "negative"]
        assert answer.json["lineage"]["deployment"] == "images"
        return answer.headers["x-request-id"]


@pytest.fixture(scope="module")
def redis(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis."""
    folder = tmp_path_factory.mktemp("mesh")
    with Mesh(folder, trained_models(), classifiers=0, gateways=0) as mesh:
        yield mesh.redis_url


@pytest.fixture
def secrets(redis: str) -> Iterator[Volume]:
    """A volume with a hashing key, which the first `mesh keys create` makes."""
    with Volume() as volume:
        environment = {"MESH_REDIS_URL": redis, "MESH_HASHING_KEY_PATH": HASHING_KEY}
        mesh("keys", "create", "first", environment=environment, mounts={volume.name: "/models"})
        yield volume


def mesh(*words: str, environment: Mapping[str, object], mounts: Mapping[str, str]) -> None:
    """Runs the `mesh` command of the gateway's image."""
    ran = containers.once("gateway", *words, program="mesh", environment=environment, mounts=mounts)
    assert ran.returncode == 0, ran.stderr


def test_a_mesh_of_images_answers_and_ends_in_order(redis: str, secrets: Volume) -> None:
    images = Images(redis, str(trained_models()), secrets)
    with images.classifier, images.gateway:
        images.wait()
        request_id = images.check()
        walk = images.gateway.run("mesh", "lineage", request_id)
        assert "by        deployment images, variant default" in walk
        assert images.gateway.stop() == 0, images.gateway.log
        assert images.classifier.stop() == 0, images.classifier.log


def test_a_model_is_fetched_and_followed(redis: str, secrets: Volume, tmp_path: Path) -> None:
    told = {"MESH_MODELS_URL": "file:///mirror"}
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    mirror.chmod(0o777)  # the images' user is another
    mesh(
        *("models", "push"),
        environment={**told, "MESH_MODELS_PATH": "/models"},
        mounts={str(trained_models()): "/models:ro", str(mirror): "/mirror"},
    )
    with Volume() as models:
        mounts = {models.name: "/models", str(mirror): "/mirror:ro"}
        ran = containers.once("classifier", program="fetch", environment=told, mounts=mounts)
        assert ran.returncode == 0, ran.stderr
        images = Images(redis, models.name, secrets)
        follower = Container("classifier", told, mounts, program="fetch", arguments=["--follow"])
        with images.classifier, images.gateway, follower:
            images.wait()
            images.check()
            assert follower.stop() == 0, follower.log
        assert "here is classifier:" in ran.stderr
