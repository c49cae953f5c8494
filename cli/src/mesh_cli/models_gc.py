"""Which versions the store keeps, and the removal of the others.

Kept are, of each model: what an alias names; what an alias would be rolled back to, however long
ago that was; what an alias named within the grace; the newest few; what is younger than the age.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from mesh_cli import models_catalogue
from mesh_cli.models_catalogue import Entry
from meshkit import staging
from meshkit.aliases import Alias

# What a killed import or pull has left is taken up by the next one; after this long by none.
_ABANDONED: Final = timedelta(days=1)


@dataclass(frozen=True)
class Policy:
    """What is kept whatever no alias names."""

    newest: int
    """So many versions of each model."""
    age: timedelta
    """Versions younger than this."""
    grace: timedelta
    """Versions that an alias named within this time."""


@dataclass(frozen=True)
class Decision:
    """What becomes of a version."""

    entry: Entry
    kept_for: str
    """Why it stays; empty when it goes."""


def rollback_target(moves: Sequence[Alias]) -> Alias | None:
    """The last move of an alias to another version than it names now; None where there is none."""
    others = (move for move in reversed(moves) if move.version != moves[-1].version)
    return next(others, None)


def decide(home: Path, policy: Policy, now: datetime | None = None) -> list[Decision]:
    """Says of every version whether it stays, and why.

    Raises:
        Failure: an alias is damaged, so that nobody can say what it names.
    """
    now = now or datetime.now(UTC)
    decisions = []
    for model in models_catalogue.models(home):
        named = _named(home, model, policy, now)
        entries = models_catalogue.entries(home, model)
        newest = [entry for entry in entries if not entry.fault][: policy.newest]
        for entry in entries:
            reason = named.get(entry.version, "")
            if not reason and entry in newest:
                reason = f"one of the newest {policy.newest}"
            # A training that is under way has written no record yet.
            age = max(policy.age, _ABANDONED) if entry.fault else policy.age
            if not reason and now - entry.created < age:
                reason = f"younger than {age.days} days"
            decisions.append(Decision(entry, reason))
    return decisions


def collect(home: Path, policy: Policy) -> list[Entry]:
    """Removes what is not kept, and returns it.

    An alias can't be moved to a version while this decides and removes. A version leaves the store
    in one step, so a reader never sees a part of it.
    """
    with staging.changing(home):
        gone = [decision.entry for decision in decide(home, policy) if not decision.kept_for]
        staging.remove(home, [(entry.model, entry.version) for entry in gone])
        for path in _abandoned(home):
            shutil.rmtree(path)
    return gone


def _named(home: Path, model: str, policy: Policy, now: datetime) -> dict[str, str]:
    """The versions that stay because of an alias, each with the reason."""
    kept: dict[str, str] = {}
    for alias in models_catalogue.alias_names(home, model):
        moves = models_catalogue.history(home, model, alias)
        # A version was named until the next move.
        ends = [datetime.fromisoformat(move.created) for move in moves[1:]]
        for move, end in zip(moves, ends, strict=False):
            if now - end < policy.grace:
                kept[move.version] = f"{alias} named it within {policy.grace.days} days"
        if target := rollback_target(moves):
            kept[target.version] = f"{alias} would be rolled back to it"
        kept[moves[-1].version] = f"{alias} names it"
    return kept


def _abandoned(home: Path) -> Iterator[Path]:
    """Versions on their way in, which nobody goes on with."""
    for folder in (staging.folder(home) / "models").glob("*/*/"):
        newest = max(path.stat().st_mtime for path in [folder, *folder.iterdir()])
        if time.time() - newest > _ABANDONED.total_seconds():
            yield folder
