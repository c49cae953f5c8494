"""Which package indexes to ask: those that the user's own installers use."""

import configparser
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path


def index_urls(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The indexes that pip or uv is told to use; empty when neither is told, for the usual one.

    The first that is set holds: `UV_DEFAULT_INDEX`, `UV_INDEX_URL`, `PIP_INDEX_URL`, `index-url` in
    a configuration file of pip (the user's before the machine's).
    """
    environment = os.environ if environment is None else environment
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        if urls := environment.get(variable, "").split():
            return tuple(urls)
    return next(filter(None, map(_from_pip_file, _pip_files(environment))), ())


def _pip_files(environment: Mapping[str, str]) -> Iterator[Path]:
    """The configuration files of pip, the strongest first."""
    if named := environment.get("PIP_CONFIG_FILE"):
        yield Path(named)
    yield Path(sys.prefix, "pip.conf")
    home = Path.home()
    configuration = environment.get("XDG_CONFIG_HOME")
    yield (Path(configuration) if configuration else home / ".config") / "pip" / "pip.conf"
    yield home / ".pip" / "pip.conf"
    yield Path("/etc/xdg/pip/pip.conf")
    yield Path("/etc/pip.conf")


def _from_pip_file(path: Path) -> tuple[str, ...]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error):
        return ()  # pip reports a broken file of its own; the next one may hold the address
    for section in ("install", "global"):
        if urls := parser.get(section, "index-url", fallback="").split():
            return tuple(urls)
    return ()
