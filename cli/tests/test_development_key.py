import asyncio

from conftest import redis_url
from mesh_cli import development_key
from mesh_cli.settings import Site
from meshkit.hashing_keys import HashingKeys
from meshkit.key_store import KeyStore
from meshkit.keys import ApiKey


def revoke(site: Site, key: str) -> None:
    async def run() -> None:
        async with KeyStore(redis_url(site)) as store:
            await store.revoke(ApiKey.parse(key).id)

    asyncio.run(run())


def test_the_key_is_kept_for_the_next_up_readable_by_its_owner_alone(served: Site) -> None:
    key = development_key.ensure(served)
    assert development_key.ensure(served) == key
    path = served.state / "secrets" / "development.key"
    assert path.read_text() == f"{key}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_key_that_is_no_longer_valid_is_replaced(served: Site) -> None:
    site = served
    first = development_key.ensure(site)
    revoke(site, first)
    second = development_key.ensure(site)
    assert second != first

    (site.state / "secrets" / "development.key").write_text("mesh_cut")
    third = development_key.ensure(site)
    assert third != second

    site.hashing_key.unlink()
    HashingKeys.load_or_create(site.hashing_key)
    assert development_key.ensure(site) != third
