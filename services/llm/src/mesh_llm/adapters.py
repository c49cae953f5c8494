"""LoRA adapters of the model, each a model of its own to those who ask."""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from meshkit import store
from meshkit.errors import StartError

CONFIG: Final = "adapter_config.json"
"""What PEFT, whose layout adapters have, calls an adapter's description."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter that can be served.

    Attributes:
        name: what requests call it.
        folder: where its files are.
        rank: of its matrices.
        modules: names of the layers that it adapts; None where it may be any.
        version: in the store, else its folder.
        run: that trained it; empty where that is not known.
    """

    name: str
    folder: str
    rank: int
    modules: frozenset[str] | None
    version: str
    run: str = ""


def parse(given: str) -> Mapping[str, str]:
    """The sources of adapters by their names, from `name=source,name=source`.

    Raises:
        ValueError: it is not of that form.
    """
    sources: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in given.split(","))):
        name, equals, source = entry.partition("=")
        if not (equals and source and _NAME.fullmatch(name)):
            raise ValueError(f"has {entry!r}; write name=folder or name=model:version")
        if name in sources:
            raise ValueError(f"names {name!r} twice; give each adapter its own name")
        sources[name] = source
    return sources


def find(sources: Mapping[str, str], home: Path | None, base: str) -> list[Adapter]:
    """The adapters that sources name.

    Args:
        sources: by the names that requests will use: an absolute folder, a model of the store,
            whose version in production is taken, or `model:version`.
        home: of the model store; None where there is none.
        base: the version of the model that they are for.

    Raises:
        StartError: one is missing, or is no adapter.
    """
    return [
        _from_folder(name, Path(source))
        if source.startswith("/")
        else _from_store(name, source, home, base)
        for name, source in sources.items()
    ]


def _from_store(name: str, source: str, home: Path | None, base: str) -> Adapter:
    if home is None:
        raise StartError(
            f"the adapter {name} is {source!r} of the model store, and MESH_LLM_MODELS_PATH is not "
            "set; set it, or name a folder"
        )
    model, _, given = source.partition(":")
    version = store.open_version(home, model, given) if given else store.resolve(home, model)
    trained_on = str(version.record.get("base", ""))
    if trained_on.partition(":")[2] != base:
        _log.warning(
            "the adapter %s was trained on %s, and %s is served: its answers may be worse",
            *(name, trained_on or "an unknown model", base),
        )
    folder = version.file(CONFIG).parent
    return Adapter(name, str(folder), *_described(name, folder), version.name, version.run)


def _from_folder(name: str, folder: Path) -> Adapter:
    return Adapter(name, str(folder), *_described(name, folder), str(folder))


def _described(name: str, folder: Path) -> tuple[int, frozenset[str] | None]:
    """The rank of an adapter and the layers that it adapts, by its description."""
    path = folder / CONFIG
    try:
        config: Any = json.loads(path.read_bytes())
        rank, modules = config["r"], config.get("target_modules")
        if config["peft_type"] != "LORA" or not isinstance(rank, int):
            raise ValueError(f"it is of the kind {config['peft_type']!r} and the rank {rank!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StartError(
            f"the adapter {name} can't be read: {path} describes no LoRA adapter in PEFT's layout "
            f"({error}); mend it, or leave it out of MESH_LLM_ADAPTERS"
        ) from error
    return rank, frozenset(modules) if isinstance(modules, list) else None
