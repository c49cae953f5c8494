"""What the load can be told, by its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

ROOT: Final = Path(__file__).resolve().parents[3]
PREFIX: Final = "MESH_LOAD_"
_RATES: Final = "10,20,40,80,160,320,640"


class SettingsError(Exception):
    """A setting is unknown, missing or invalid; the text says which and what to do."""


@dataclass(frozen=True)
class Settings:
    """The settings.

    Attributes:
        url: of the gateway, `http://` or `https://`.
        key: the API key or token that the load is asked with.
        grpc_url: of its gRPC door, `grpc://` or `grpcs://`; None for a load without gRPC.
        ca_path: certificates that TLS is checked with; None for those of the system.
        rates_per_s: requests a second of each step.
        step_s: seconds of a step that count.
        processes: that make the load.
        output_path: folder of the report.
    """

    url: str
    key: str
    grpc_url: str | None
    ca_path: Path | None
    rates_per_s: tuple[int, ...]
    step_s: int
    processes: int
    output_path: Path

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Reads them; what is not set is that of the mesh of `make up`.

        Args:
            environment: where they are; the process's own by default.

        Raises:
            SettingsError: a name is unknown or a value is invalid.
        """
        given = dict(os.environ if environment is None else environment)
        known = {f"{PREFIX}{field.name.upper()}" for field in fields(cls)}
        unknown = [name for name in given if name.startswith(PREFIX) and name not in known]
        if unknown:
            names = ", ".join(sorted(unknown))
            raise SettingsError(f"unknown setting {names}; there are {', '.join(sorted(known))}")
        local = f"http://127.0.0.1:{given.get('MESH_GATEWAY_HTTP_PORT') or 8080}"
        url = _url(given, "URL", local, ("http", "https"))
        grpc_url = None
        if url == local or given.get(f"{PREFIX}GRPC_URL"):
            local_grpc = f"grpc://127.0.0.1:{given.get('MESH_GATEWAY_GRPC_PORT') or 8081}"
            grpc_url = _url(given, "GRPC_URL", local_grpc, ("grpc", "grpcs"))
        state = Path(given.get("MESH_STATE_PATH") or ROOT / ".mesh")
        ca_path = given.get(f"{PREFIX}CA_PATH")
        output_path = given.get(f"{PREFIX}OUTPUT_PATH") or state / "load"
        return cls(
            url=url,
            grpc_url=grpc_url,
            key=given.get(f"{PREFIX}KEY") or _development_key(state, url, local),
            ca_path=Path(ca_path).absolute() if ca_path else None,
            rates_per_s=_numbers(given, "RATES_PER_S", _RATES),
            step_s=_number(given, "STEP_S", "15"),
            processes=_number(given, "PROCESSES", "1"),
            output_path=Path(output_path).absolute(),
        )

    def environment(self) -> dict[str, str]:
        """The same as variables, for the processes that make the load."""
        texts = {field.name: getattr(self, field.name) for field in fields(self)}
        texts["rates_per_s"] = ",".join(map(str, self.rates_per_s))
        return {
            f"{PREFIX}{name.upper()}": str(value)
            for name, value in texts.items()
            if value is not None
        }


def _url(given: Mapping[str, str], name: str, default: str, schemes: tuple[str, ...]) -> str:
    text = given.get(f"{PREFIX}{name}") or default
    parts = urlsplit(text)
    if parts.scheme not in schemes or not parts.netloc or parts.path.strip("/"):
        forms = " or ".join(f"{scheme}://HOST:PORT" for scheme in schemes)
        raise SettingsError(f"{PREFIX}{name}={text!r} is not of the form {forms}")
    return f"{parts.scheme}://{parts.netloc}"


def _development_key(state: Path, url: str, local: str) -> str:
    path = state / "secrets" / "development.key"
    if url != local:
        raise SettingsError(f"{PREFIX}KEY is not set: name an API key of {url}")
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        raise SettingsError(
            f"there is no mesh here: run `make up`, or set {PREFIX}URL and {PREFIX}KEY"
        ) from None


def _number(given: Mapping[str, str], name: str, default: str) -> int:
    numbers = _numbers(given, name, default)
    if len(numbers) != 1:
        raise SettingsError(f"{PREFIX}{name}={given[PREFIX + name]!r} is more than one number")
    return numbers[0]


def _numbers(given: Mapping[str, str], name: str, default: str) -> tuple[int, ...]:
    text = given.get(f"{PREFIX}{name}") or default
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise SettingsError(f"{PREFIX}{name}={text!r}: use whole numbers over 0, such as {default}")
    return tuple(map(int, parts))
