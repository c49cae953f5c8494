"""How versions are shown: tables for people, JSON for programs."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from mesh_cli import models_catalogue
from mesh_cli.models_catalogue import Entry, value_at
from mesh_cli.models_replicas import Replica
from meshkit.aliases import Alias
from meshkit.store import Version

# What a comparison is about; the rest of a record describes the graph's form.
_COMPARED = ("metrics", "settings", "sources", "git_commit", "default_precision", "thresholds",
             "temperature", "batch_invariance", "parity")  # fmt: skip


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows of cells under their heads."""
    return columns([heads, *rows])


def columns(rows: Iterable[Sequence[object]]) -> str:
    """Rows of cells, each column as wide as its widest cell.

    What was written elsewhere may hold anything; no control characters of it reach a terminal.
    """
    cells = [[_printable(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)
    return "\n".join(lines)


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)


def as_json(content: object) -> str:
    """For programs: the keys stay as they are in later releases, more may come."""
    return json.dumps(content, indent=2, ensure_ascii=False)


def size(count: int) -> str:
    """A number of bytes as people read it."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def moment(when: datetime) -> str:
    """A time in UTC, to the minute."""
    return f"{when:%Y-%m-%d %H:%M}"


def listed(entries: Sequence[Entry]) -> str:
    """The versions of all models as a table."""
    rows = [
        (
            f"{entry.model}:{entry.version}",
            ", ".join(entry.aliases) or "-",
            moment(entry.created),
            size(entry.bytes),
            _value(value_at(entry.record, "settings.recipe")),
            _value(value_at(entry.record, "metrics.macro_f1")),
            entry.fault or "ok",
        )
        for entry in entries
    ]
    return table(("VERSION", "ALIASES", "SAVED (UTC)", "SIZE", "RECIPE", "MACRO-F1", "STATE"), rows)


def listed_json(entries: Sequence[Entry]) -> dict[str, Any]:
    """The versions of all models."""
    return {
        "versions": [
            {
                "model": entry.model,
                "version": entry.version,
                "aliases": list(entry.aliases),
                "created": entry.created.isoformat(),
                "bytes": entry.bytes,
                "metrics": entry.record.get("metrics", {}),
                "fault": entry.fault or None,
            }
            for entry in entries
        ]
    }


def described_json(home: Path, version: Version, replicas: Sequence[Replica]) -> dict[str, Any]:
    """Everything that is known of a version, and what serves its model."""
    moves = {
        alias: models_catalogue.history(home, version.model, alias)
        for alias in models_catalogue.alias_names(home, version.model)
    }
    return {
        "model": version.model,
        "version": version.name,
        "run": version.run,
        "created": version.created,
        "aliases": [name for name, each in moves.items() if each[-1].version == version.name],
        "files": [
            {"name": name, "bytes": _bytes(path), "sha256": version.hashes[name]}
            for name, path in sorted(version.files.items())
        ],
        "record": dict(version.record),
        "serving": [asdict(replica) for replica in replicas],
        "history": {name: [_move_json(move) for move in each] for name, each in moves.items()},
    }


def described(home: Path, version: Version, replicas: Sequence[Replica]) -> str:
    """Everything that is known of a version, and what serves its model, as a page."""
    content = described_json(home, version, replicas)
    record = content["record"]
    files = [
        (each["name"], "missing" if each["bytes"] is None else size(each["bytes"]), each["sha256"])
        for each in content["files"]
    ]
    about = [
        ("version", f"{version.model}:{version.name}"),
        ("aliases", ", ".join(content["aliases"]) or "-"),
        ("saved", version.created),
        ("run", version.run),
        ("code", record.get("git_commit", "-")),
        ("precision", record.get("default_precision", "-")),
    ]
    parts = [
        columns(about),
        _section("METRICS", record.get("metrics")),
        _section("BATCH INVARIANCE", record.get("batch_invariance")),
        _section("PARITY WITH TORCH", record.get("parity")),
        _section("SETTINGS", record.get("settings")),
        _section("SOURCES", record.get("sources")),
        table(("FILES", "SIZE", "SHA-256"), files),
        _replicas(replicas),
        *(
            _moves(f"{version.model}@{name}", models_catalogue.history(home, version.model, name))
            for name in content["history"]
        ),
    ]
    return "\n\n".join(part for part in parts if part)


def compared_json(old: Version, new: Version) -> dict[str, Any]:
    """What differs between two versions, by the path of the value."""
    before, after = dict(_flat(_about(old))), dict(_flat(_about(new)))
    paths = [*before, *(path for path in after if path not in before)]
    changed = [path for path in paths if before.get(path) != after.get(path)]
    return {
        "old": f"{old.model}:{old.name}",
        "new": f"{new.model}:{new.name}",
        "differences": {
            path: {"old": before.get(path), "new": after.get(path)} for path in changed
        },
        "equal": len(paths) - len(changed),
    }


def compared(old: Version, new: Version) -> str:
    """What differs between two versions, side by side."""
    content = compared_json(old, new)
    rows = [
        (path, _value(pair["old"]), _value(pair["new"]), _change(pair["old"], pair["new"]))
        for path, pair in content["differences"].items()
    ]
    heads = ("", content["old"], content["new"], "CHANGE")
    return f"{table(heads, rows)}\n\n{content['equal']} other values are the same."


def _about(version: Version) -> dict[str, Any]:
    told = {key: version.record[key] for key in _COMPARED if key in version.record}
    return {**told, "files": dict(version.hashes)}


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values within nested objects, each with its path."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _bytes(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None


def _section(title: str, content: object) -> str:
    if not isinstance(content, Mapping):
        return ""
    return table((title, ""), [(path, _value(value)) for path, value in _flat(content)])


def _replicas(replicas: Sequence[Replica]) -> str:
    if not replicas:
        return ""
    rows = [
        (
            each.address,
            each.version or "-",
            each.since or "-",
            f"refuses {each.refused}: {each.fault}" if each.refused else each.fault or "ok",
        )
        for each in replicas
    ]
    return table(("SERVING NOW", "VERSION", "SINCE (UTC)", "STATE"), rows)


def _moves(title: str, moves: Sequence[Alias]) -> str:
    rows = [
        (move.number, move.version, move.created, move.author or "-", move.reason or "-")
        for move in reversed(moves)
    ]
    return table((title, "VERSION", "WHEN (UTC)", "WHO", "WHY"), rows)


def _move_json(move: Alias) -> dict[str, Any]:
    return {
        "number": move.number,
        "version": move.version,
        "created": move.created,
        "author": move.author,
        "reason": move.reason,
        "details": dict(move.details),
    }


def _value(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _change(old: object, new: object) -> str:
    numbers = isinstance(old, int | float) and isinstance(new, int | float)
    return f"{new - old:+.4g}" if numbers else ""  # type: ignore[operator]  # both are numbers
