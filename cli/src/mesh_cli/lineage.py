"""`mesh lineage`: from an answer to the model, the run, the code and the data behind it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mesh_cli import models_catalogue, models_text
from mesh_cli.failures import Failure
from mesh_cli.settings import Site
from meshkit import store
from meshkit.errors import StartError
from meshkit.lineage_store import KEPT, Answer, LineageStore


@dataclass(frozen=True)
class Walk:
    """One answer to a request, and what stands behind it."""

    answer: Answer
    version: store.Version | None
    aliases: Sequence[str]
    """The aliases that name the version now."""
    fault: str = ""
    """Why nothing is known of the version; empty where it is in the store."""

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        record: Mapping[str, Any] = self.version.record if self.version else {}
        return {
            "answered": self.answer.minute.isoformat(),
            "lineage": asdict(self.answer.lineage),
            "created": self.version.created if self.version else None,
            "aliases": list(self.aliases),
            "git_commit": record.get("git_commit"),
            "settings": record.get("settings", {}),
            "sources": record.get("sources", {}),
            "files": dict(self.version.hashes) if self.version else {},
            "fault": self.fault or None,
        }


def walk(site: Site, request_id: str) -> list[Walk]:
    """Every answer to a request of the last day, the latest first, and what stands behind each.

    Raises:
        Failure: no answer is known.
        Unavailable: the Redis of the mesh can't be reached.
    """
    answers = asyncio.run(_find(site, request_id))
    if not answers:
        raise Failure(
            f"no answer to {request_id!r} is known: a gateway keeps the lineage of its answers for "
            f"{KEPT.days} day and writes it within a second; refused requests have none"
        )
    return [_behind(site, answer) for answer in answers]


def page(request_id: str, walks: Sequence[Walk]) -> str:
    """The walks, one below the other."""
    return "\n\n".join(_section(request_id, each) for each in walks)


async def _find(site: Site, request_id: str) -> list[Answer]:
    async with LineageStore(site.process_environment()["MESH_REDIS_URL"], timeout_s=5.0) as kept:
        return await kept.find(request_id)


def _behind(site: Site, answer: Answer) -> Walk:
    model, name = answer.lineage.model, answer.lineage.version
    try:
        version = store.read_version(site.models, model, name)
    except StartError as error:
        return Walk(answer, None, (), f"{error}; mesh models pull {model}:{name} may bring it")
    named = [
        alias
        for alias in models_catalogue.alias_names(site.models, model)
        if models_catalogue.named_by(site.models, model, alias).version == name
    ]
    return Walk(answer, version, named)


def _section(request_id: str, found: Walk) -> str:
    lineage = found.answer.lineage
    rows = [
        ("request", request_id),
        ("answered", f"{models_text.moment(found.answer.minute)} UTC"),
        ("by", f"deployment {lineage.deployment}, variant {lineage.variant}"),
        ("version", f"{lineage.model}:{lineage.version}"),
    ]
    if found.version is None:
        return models_text.columns([*rows, ("run", lineage.run), ("unknown", found.fault)])
    record = found.version.record
    rows += [
        ("aliases", ", ".join(found.aliases) or "-"),
        ("saved", found.version.created),
        ("run", found.version.run),
        ("code", str(record.get("git_commit", "-"))),
    ]
    rows += _settings(record.get("settings"))
    rows += _sources(record.get("sources"))
    rows += [(f"file {name}", sha256) for name, sha256 in sorted(found.version.hashes.items())]
    return models_text.columns(rows)


def _settings(settings: object) -> list[tuple[str, str]]:
    if not isinstance(settings, Mapping):
        return []
    return [(f"setting {name}", str(value)) for name, value in settings.items()]


def _sources(sources: object) -> list[tuple[str, str]]:
    """Each source with its package and licence, and the hash of each of its files."""
    rows: list[tuple[str, str]] = []
    for name, source in sources.items() if isinstance(sources, Mapping) else ():
        if not isinstance(source, Mapping):
            continue
        files = source.get("files", {})
        about = [str(source[key]) for key in ("package", "version", "licence") if key in source]
        rows.append((f"source {name}", " ".join(about)))
        rows += [(f"  {file}", str(sha256)) for file, sha256 in dict(files).items()]
    return rows
