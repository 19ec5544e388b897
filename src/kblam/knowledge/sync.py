"""Making a store say what its source says, no more and no less."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kblam.knowledge import _rows
from kblam.knowledge.triple import Triple

if TYPE_CHECKING:
    from kblam.knowledge.protocols import TripleSource
    from kblam.knowledge.store import KnowledgeStore

__all__ = ["SyncReport", "sync"]

_CURRENT = "SELECT entity, property, value, id, metadata, row FROM facts"


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a synchronisation did.

    Attributes:
        added: Facts that only the source had.
        removed: Facts that only the store had.
        updated: Facts whose metadata changed, or the content under an identifier of the source.
    """

    added: int = 0
    removed: int = 0
    updated: int = 0

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.updated)


@dataclass(slots=True)
class _Plan:
    """The difference between a store and what is wanted of it."""

    delete: dict[str, int] = field(default_factory=dict)  # identifier -> row
    update: list[tuple[str, Triple]] = field(default_factory=list)
    insert: list[Triple] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.delete or self.update or self.insert)


def sync(store: KnowledgeStore, source: TripleSource) -> SyncReport:
    """Add to a store what its source has, remove what it has not, and leave the rest alone.

    The source is read first; the difference is then applied in one transaction. A fact that
    stays keeps its vectors. Nothing is written when nothing differs.

    Args:
        store: Afterwards holds the source's triples and no others.
        source: Is read once, completely.

    Raises:
        FactError: The source holds something that is no fact, or one identifier twice. The
            store is then unchanged.
    """
    wanted: dict[tuple[str, str, str], Triple] = {}
    for triple in source.triples():
        wanted.setdefault((triple.entity, triple.property, triple.value), triple)
    database = store._database
    with database.read() as connection:
        if not _difference(connection, wanted):
            return SyncReport()
    with database.write() as connection:
        # Once more: another process may have written since.
        return _apply(connection, _difference(connection, wanted))


def _difference(
    connection: sqlite3.Connection, wanted: dict[tuple[str, str, str], Triple]
) -> _Plan:
    plan = _Plan()
    present: set[tuple[str, str, str]] = set()
    named = {triple.id for triple in wanted.values() if triple.id is not None}
    for entity, name, value, identifier, metadata, row in connection.execute(_CURRENT):
        content = (entity, name, value)
        triple = wanted.get(content)
        # It goes if it is not wanted, or not under this name, which may be wanted elsewhere.
        if triple is None or (triple.id != identifier and (triple.id or identifier in named)):
            plan.delete[identifier] = row
            continue
        present.add(content)
        if _rows.metadata_json(triple) != metadata:
            plan.update.append((identifier, triple))
    plan.insert = [triple for content, triple in wanted.items() if content not in present]
    return plan


def _apply(connection: sqlite3.Connection, plan: _Plan) -> SyncReport:
    _delete(connection, plan.delete.values())
    for identifier, triple in plan.update:
        _rows.update(connection, identifier, triple)
    replaced = 0
    for triple in plan.insert:
        # A fact of the source whose content changed keeps its place.
        row = plan.delete.get(triple.id) if triple.id else None
        replaced += row is not None
        _rows.insert(connection, triple, row)
    return SyncReport(
        added=len(plan.insert) - replaced,
        removed=len(plan.delete) - replaced,
        updated=len(plan.update) + replaced,
    )


def _delete(connection: sqlite3.Connection, rows: Iterable[int]) -> None:
    connection.executemany("DELETE FROM facts WHERE row = ?", ((row,) for row in rows))
