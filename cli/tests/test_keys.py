import asyncio

import pytest
from typer.testing import CliRunner, Result

from mesh_cli import keys, lifecycle, redis_server
from mesh_cli.failures import Failure
from mesh_cli.settings import REDIS_PORT, Site
from meshkit.errors import InvalidArgument, NotFound
from meshkit.keys import SCOPES, ApiKey, HashingKey, KeyRecord, KeyStore


def url(site: Site) -> str:
    return f"redis://127.0.0.1:{site.ports[REDIS_PORT]}/0"


async def records(site: Site) -> list[KeyRecord]:
    async with KeyStore(url(site)) as store:
        return await store.list()


@pytest.fixture
def served(site: Site) -> Site:
    """A mesh whose Redis runs."""
    record = lifecycle.start(site, [redis_server.program(site)], "mark")

    def missing() -> str | None:
        try:
            asyncio.run(records(site))
        except Exception:  # noqa: BLE001  # whatever it is, it is not there yet
            return "redis"
        return None

    lifecycle.wait_ready(site, record, missing, timeout_s=30)
    return site


def mesh_keys(site: Site, *arguments: str) -> Result:
    ports = {name: str(port) for name, port in site.ports.items()}
    environment = ports | {"MESH_STATE_PATH": str(site.state), "MESH_REDIS_URL": None}
    result = CliRunner().invoke(keys.app, arguments, env=environment)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_key_is_made_and_shown_alone_on_stdout(served: Site) -> None:
    result = mesh_keys(served, "create", "checkout", "--tenant", "shop")
    key = ApiKey.parse(result.stdout.strip())
    (record,) = asyncio.run(records(served))
    assert (record.id, record.name, record.tenant) == (key.id, "checkout", "shop")
    assert record.scopes == SCOPES
    assert HashingKey.load(served.hashing_key).matches(key, record)
    assert f"mesh keys revoke {key.id}" in result.stderr
    assert key.text not in result.stderr


def test_keys_are_listed_without_their_secrets(served: Site) -> None:
    made = [mesh_keys(served, "create", name).stdout.strip() for name in ("one", "two words")]
    lines = mesh_keys(served, "list").stdout.splitlines()
    assert lines[0].split() == ["ID", "NAME", "TENANT", "SCOPES", "MADE", "REVOKED"]
    assert [line.split()[0] for line in lines[1:]] == [ApiKey.parse(key).id for key in made]
    assert "two words" in lines[2]
    assert not any(key in line for key in made for line in lines)


def test_a_revoked_key_says_since_when(served: Site) -> None:
    key = ApiKey.parse(mesh_keys(served, "create", "one").stdout.strip())
    said = mesh_keys(served, "revoke", key.id).stdout
    assert f"key {key.id} (one) is revoked since 2" in said
    assert "UTC" in said
    since = said.rstrip().removesuffix(" UTC")[-19:]
    assert since in mesh_keys(served, "list").stdout


def test_what_makes_no_sense_is_refused(served: Site) -> None:
    with pytest.raises(InvalidArgument, match="scopes holds clasifier; choose from classifier"):
        mesh_keys(served, "create", "one", "--scope", "clasifier")
    with pytest.raises(NotFound, match="no key 'nobody'"):
        mesh_keys(served, "revoke", "nobody")


def test_a_mesh_that_is_down_is_said(site: Site) -> None:
    for arguments in (["create", "one"], ["list"], ["revoke", "nobody"]):
        with pytest.raises(Failure, match="does not answer: make up starts one"):
            mesh_keys(site, *arguments)
