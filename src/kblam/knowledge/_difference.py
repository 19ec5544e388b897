"""The difference between a store and what it is to hold, and its application."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

from kblam.knowledge import _rows
from kblam.knowledge._stage import Stage
from kblam.knowledge._state import State, read_state
from kblam.knowledge.triple import Triple

__all__ = ["Difference", "SyncReport", "apply", "apply_changes", "difference"]

_CURRENT = "SELECT entity, property, value, id, metadata, row FROM facts"


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a synchronisation did; false where nothing differed.

    Attributes:
        added: Facts that only the source had.
        removed: Facts that only the store had.
        changed: Facts whose metadata changed, or the content under an identifier of the source.
        embedded: Facts that were embedded before they were written, because the store knew an
            encoder. All others are embedded when they are first read.
    """

    added: int = 0
    removed: int = 0
    changed: int = 0
    embedded: int = field(default=0, compare=False)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(slots=True)
class Difference:
    """What has to be done to a store. Triples are numbers in the stage.

    Attributes:
        state: The state of the store that this is about.
        remove: Rows of the store.
        replaced: The rows among those whose identifiers are wanted for something else.
        update: Facts to have the metadata of a triple.
        insert: Triples that the store lacks.
    """

    state: State
    remove: array[int] = field(default_factory=lambda: array("q"))
    replaced: dict[str, int] = field(default_factory=dict)
    update: list[tuple[str, int]] = field(default_factory=list)
    insert: array[int] = field(default_factory=lambda: array("q"))

    def __bool__(self) -> bool:
        return bool(self.remove or self.update or self.insert)


def difference(connection: sqlite3.Connection, stage: Stage) -> Difference:
    """Compare a store with what it is to hold, inside one transaction."""
    found = Difference(read_state(connection))
    present = bytearray(stage.count)
    for entity, name, value, identifier, metadata, row in connection.execute(_CURRENT):
        wanted = stage.find(entity, name, value)
        # It goes if it is not wanted, or not under this name, which may be wanted elsewhere.
        if wanted is None or (
            wanted[1] != identifier and (wanted[1] is not None or stage.names(identifier))
        ):
            found.remove.append(row)
            if stage.names(identifier):
                found.replaced[identifier] = row
            continue
        present[wanted[0]] = True
        if wanted[2] != metadata:
            found.update.append((identifier, wanted[0]))
    found.insert.extend(number for number, there in enumerate(present) if not there)
    return found


def apply(connection: sqlite3.Connection, stage: Stage, found: Difference) -> SyncReport:
    """Make a store hold what is staged, inside one write transaction."""
    connection.executemany("DELETE FROM facts WHERE row = ?", ((row,) for row in found.remove))
    for identifier, number in found.update:
        _rows.update(connection, identifier, stage.triple(number))
    replaced = 0
    for number in found.insert:
        triple = stage.triple(number)
        # A fact of the source whose content changed keeps its place.
        row = found.replaced.get(triple.id) if triple.id else None
        replaced += row is not None
        _rows.insert(connection, triple, row, stage.names)
    return SyncReport(
        added=len(found.insert) - replaced,
        removed=len(found.remove) - replaced,
        changed=len(found.update) + replaced,
    )


def apply_changes(
    connection: sqlite3.Connection, changed: Iterable[Triple], removed: Iterable[str]
) -> SyncReport:
    """Do to a store what a source's journal says, inside one write transaction.

    Args:
        connection: To a store that held what the source did before these changes.
        changed: Facts as they are now, each with its identifier.
        removed: Identifiers of facts that are gone.
    """
    gone = sum(_rows.remove(connection, identifier, None, None) for identifier in removed)
    changed = list(changed)
    new = sum(_rows.get(connection, triple.id or "") is None for triple in changed)
    written = _rows.replace_named(connection, changed)
    return SyncReport(added=new, removed=gone, changed=written - new)
