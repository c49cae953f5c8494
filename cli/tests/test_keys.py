"""`mesh keys` and `mesh tenants` against a real Redis."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
import typer
from typer.testing import CliRunner, Result

from conftest import redis_url
from mesh_cli import keys, tenants
from mesh_cli.failures import Failure
from mesh_cli.settings import Site
from meshkit.allowance import Allowance
from meshkit.errors import InvalidArgument, NotFound
from meshkit.hashing_keys import HashingKeys
from meshkit.key_records import KeyRecord, Tenant
from meshkit.key_store import KeyStore
from meshkit.keys import ApiKey
from meshkit.rates import Rate
from meshkit.scopes import SERVICES

T = TypeVar("T")


def in_store(site: Site, use: Callable[[KeyStore], Awaitable[T]]) -> T:
    async def run() -> T:
        async with KeyStore(redis_url(site)) as store:
            return await use(store)

    return asyncio.run(run())


def records(site: Site) -> list[KeyRecord]:
    return in_store(site, lambda store: store.list())


def run(app: typer.Typer, site: Site, *arguments: str) -> Result:
    ports = {name: str(port) for name, port in site.ports.items()}
    environment = ports | {"MESH_STATE_PATH": str(site.state), "MESH_REDIS_URL": None}
    result = CliRunner().invoke(app, arguments, env=environment)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def mesh_keys(site: Site, *arguments: str) -> Result:
    return run(keys.app, site, *arguments)


def as_json(site: Site, *arguments: str) -> Any:
    return json.loads(mesh_keys(site, *arguments, "--json").stdout)


def make(site: Site, name: str, *options: str) -> ApiKey:
    return ApiKey.parse(mesh_keys(site, "create", name, *options).stdout.strip())


def test_a_key_has_the_tokens_and_the_money_it_was_made_with(served: Site) -> None:
    options = ("--token-rate", "60000/m:9000", "--token-rate", "llm=100/m", "--budget", "5/day")
    key = make(served, "x", *options)
    (record,) = [each for each in records(served) if each.id == key.id]
    assert record.grant.allowance == Allowance.parse(options[1:4:2], [options[5]])
    shown = as_json(served, "show", key.id)["tokens_and_money"]
    assert shown == (
        "60000 tokens a minute, 9000 at once, 100 tokens a minute, 100 at once of llm, 5.00 a day"
    )
    with pytest.raises(InvalidArgument, match="--budget is 'much'"):
        mesh_keys(served, "create", "y", "--budget", "much")


def test_a_tenant_has_tokens_and_money_of_its_own(served: Site) -> None:
    run(tenants.app, served, "set", "shop", "--token-rate", "1000/m", "--budget", "9/month")
    tenant = in_store(served, lambda store: store.get_tenant("shop"))
    assert tenant == Tenant("shop", None, Allowance.parse(["1000/m"], ["9/month"]))
    assert "9.00 a month" in run(tenants.app, served, "list").stdout
    run(tenants.app, served, "set", "shop")
    assert in_store(served, lambda store: store.get_tenant("shop")) is None


def test_a_key_is_made_and_shown_alone_on_stdout(served: Site) -> None:
    result = mesh_keys(served, "create", "checkout", "--tenant", "shop")
    key = ApiKey.parse(result.stdout.strip())
    (record,) = records(served)
    assert (record.id, record.grant.name, record.grant.tenant) == (key.id, "checkout", "shop")
    assert record.grant.scopes == set(SERVICES)
    assert HashingKeys.load(served.hashing_key).current.matches(key, record.hash)
    assert f"mesh keys revoke {key.id}" in result.stderr
    assert key.text not in result.stderr


def test_a_key_has_the_limits_that_were_asked_for(served: Site) -> None:
    before = datetime.now(UTC)
    options = ("--rate", "600/m:50", "--max-concurrent", "8", "--expires", "90d")
    make(served, "one", *options, "--scope", "classifier:predict")
    (record,) = records(served)
    grant = record.grant
    assert grant.rate == Rate(600, "m", 50)
    assert grant.max_concurrent == 8
    assert grant.scopes == {"classifier:predict"}
    assert grant.expires_at is not None
    assert timedelta(0) <= grant.expires_at - before - timedelta(days=90) < timedelta(minutes=1)


def test_keys_are_listed_without_their_secrets(served: Site) -> None:
    made = [make(served, name) for name in ("one", "two words")]
    in_store(served, lambda store: store.note_used({made[0].id: datetime(2026, 5, 4, tzinfo=UTC)}))
    lines = mesh_keys(served, "list").stdout.splitlines()
    assert lines[0].split()[:4] == ["ID", "NAME", "TENANT", "SCOPES"]
    assert [line.split()[0] for line in lines[1:]] == [key.id for key in made]
    assert "2026-05-04 00:00:00" in lines[1]
    assert "two words" in lines[2]
    assert all(line.endswith("valid") for line in lines[1:])
    assert not any(key.text in line for key in made for line in lines)
    listed = as_json(served, "list")["keys"]
    assert [each["id"] for each in listed] == [key.id for key in made]
    assert listed[0]["last_used_at"] == "2026-05-04T00:00:00+00:00"
    assert listed[1]["last_used_at"] is None


def test_a_key_is_shown_with_what_was_done_to_it(served: Site) -> None:
    key = make(served, "one", "--rate", "10/s")
    mesh_keys(served, "revoke", key.id)
    shown = as_json(served, "show", key.id)
    assert (shown["name"], shown["rate"], shown["state"]) == ("one", "10/s:10", "revoked")
    assert [act["action"] for act in shown["acts"]] == ["revoke", "create"]
    assert all("@" in act["actor"] for act in shown["acts"])
    page = mesh_keys(served, "show", key.id).stdout
    assert re.search(r"^rate +10/s:10$", page, re.MULTILINE)
    assert key.text not in page


def test_a_revoked_key_says_since_when(served: Site) -> None:
    key = make(served, "one")
    said = mesh_keys(served, "revoke", key.id).stdout
    assert f"key {key.id} (one) is revoked since 2" in said
    assert "UTC" in said
    assert mesh_keys(served, "list").stdout.rstrip().endswith("revoked")


def test_a_rotated_key_ends_after_its_grace(served: Site) -> None:
    old = make(served, "one", "--rate", "10/s")
    result = mesh_keys(served, "rotate", old.id, "--grace", "12h")
    new = ApiKey.parse(result.stdout.strip())
    assert new.id != old.id
    assert f"the old key {old.id} stays valid for 12h" in result.stderr
    shown = as_json(served, "show", new.id)
    assert (shown["replaces"], shown["rate"]) == (old.id, "10/s:10")
    expires_at = datetime.fromisoformat(as_json(served, "show", old.id)["expires_at"])
    left = expires_at - datetime.now(UTC)
    assert timedelta(hours=11, minutes=59) < left <= timedelta(hours=12)


def test_hashing_keys_are_rotated_and_pruned(served: Site) -> None:
    old = make(served, "old")
    first = HashingKeys.load(served.hashing_key)
    assert "keys are made with" in mesh_keys(served, "rotate-hashing-key").stdout
    both = HashingKeys.load(served.hashing_key)
    assert both.all[1:] == first.all
    new = make(served, "new")
    by_id = {record.id: record for record in records(served)}
    assert by_id[new.id].hashing_key == both.current.id
    assert by_id[old.id].hashing_key == first.current.id

    assert "0 hashing keys are gone" in mesh_keys(served, "rotate-hashing-key", "--prune").stdout
    mesh_keys(served, "revoke", old.id)
    assert "1 hashing keys are gone" in mesh_keys(served, "rotate-hashing-key", "--prune").stdout
    assert HashingKeys.load(served.hashing_key).all == (both.current,)
    actions = [act["action"] for act in as_json(served, "audit")["acts"]]
    assert actions[:2] == ["prune-hashing-keys", "revoke"]
    assert "rotate-hashing-key" in actions


def test_the_audit_log_shows_the_latest_acts_first(served: Site) -> None:
    key = make(served, "one")
    run(tenants.app, served, "set", "shop", "--rate", "5/s")
    lines = mesh_keys(served, "audit", "--count", "1").stdout.splitlines()
    assert len(lines) == 2
    assert "set-tenant" in lines[1]
    assert "rate=5/s:5" in lines[1]
    assert key.text not in mesh_keys(served, "audit").stdout


def test_a_tenant_has_the_rate_that_was_set(served: Site) -> None:
    said = run(tenants.app, served, "set", "shop", "--rate", "6000/m:500").stdout
    assert said == "shop may make 6000 requests a minute, 500 at once\n"
    assert in_store(served, lambda store: store.get_tenant("shop")) == Tenant(
        "shop", Rate(6000, "m", 500)
    )
    listed = json.loads(run(tenants.app, served, "list", "--json").stdout)
    assert listed == {"tenants": [{"name": "shop", "rate": "6000/m:500", "tokens_and_money": None}]}
    run(tenants.app, served, "set", "shop")
    assert in_store(served, lambda store: store.get_tenant("shop")) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "one", "--scope", "clasifier"), "scopes holds clasifier; choose from classif"),
        (("create", "one", "--rate", "fast"), "--rate is 'fast' and should be a rate"),
        (("create", "one", "--expires", "soon"), "--expires is 'soon' and should be a time"),
        (("create", "one", "--max-concurrent", "0"), "max_concurrent must be 1 to"),
    ],
)
def test_what_makes_no_sense_is_refused(
    served: Site, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(message)):
        mesh_keys(served, *arguments)
    assert records(served) == []


@pytest.mark.parametrize("command", ["revoke", "rotate", "show"])
def test_a_key_that_is_not_there_is_said(served: Site, command: str) -> None:
    with pytest.raises(NotFound, match="no key 'nobody'"):
        mesh_keys(served, command, "nobody")


def test_a_mesh_that_is_down_is_said(site: Site) -> None:
    for arguments in (["create", "one"], ["list"], ["revoke", "nobody"], ["audit"]):
        with pytest.raises(Failure, match="does not answer: make up starts one"):
            mesh_keys(site, *arguments)
