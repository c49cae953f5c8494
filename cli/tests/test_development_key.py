import asyncio

import pytest

from mesh_cli import development_key, lifecycle, redis_server
from mesh_cli.settings import REDIS_PORT, Site
from meshkit.keys import ApiKey, HashingKey, KeyStore


@pytest.fixture
def site_with_redis(site: Site) -> Site:
    record = lifecycle.start(site, [redis_server.program(site)], "mark")

    async def ping() -> None:
        async with KeyStore(url(site)) as store:
            await store.ping()

    def missing() -> str | None:
        try:
            asyncio.run(ping())
        except Exception:  # noqa: BLE001  # whatever it is, it is not there yet
            return "redis"
        return None

    lifecycle.wait_ready(site, record, missing, timeout_s=30)
    return site


def url(site: Site) -> str:
    return f"redis://127.0.0.1:{site.ports[REDIS_PORT]}/0"


def revoke(site: Site, key: str) -> None:
    async def run() -> None:
        async with KeyStore(url(site)) as store:
            await store.revoke(ApiKey.parse(key).id)

    asyncio.run(run())


def test_the_key_is_kept_for_the_next_up_readable_by_its_owner_alone(site_with_redis: Site) -> None:
    key = development_key.ensure(site_with_redis)
    assert development_key.ensure(site_with_redis) == key
    path = site_with_redis.state / "secrets" / "development.key"
    assert path.read_text() == f"{key}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_key_that_is_no_longer_valid_is_replaced(site_with_redis: Site) -> None:
    site = site_with_redis
    first = development_key.ensure(site)
    revoke(site, first)
    second = development_key.ensure(site)
    assert second != first

    (site.state / "secrets" / "development.key").write_text("mesh_cut")
    third = development_key.ensure(site)
    assert third != second

    site.hashing_key.unlink()
    HashingKey.load_or_create(site.hashing_key)
    assert development_key.ensure(site) != third
