"""The facts of a store as they were at one moment, while it is written to.

On a file this is a read transaction that is kept open. In memory there is one connection for all,
so that what is overwritten is kept aside for as long as somebody looks at the state before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from kblam.errors import StoreError
from kblam.knowledge import _rows
from kblam.knowledge._database import Database
from kblam.knowledge._state import State, read_state
from kblam.knowledge.triple import Fact

__all__ = ["Snapshot", "snapshot_of"]

_PAST = f"past (sequence, {_rows.COLUMNS})"
_OLD = ", ".join(f"OLD.{name.strip()}" for name in _rows.COLUMNS.split(","))
# The number of the last change before this one: the row is as it was at that state.
_KEEP = f"""
WHEN EXISTS (SELECT 1 FROM watched) BEGIN
    INSERT INTO past SELECT
        coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'journal'), 0), {_OLD};
END
"""
_PREPARE = (
    "CREATE TEMP TABLE IF NOT EXISTS watched (watch INTEGER PRIMARY KEY, sequence INTEGER)",
    f"CREATE TEMP TABLE IF NOT EXISTS {_PAST}",
    f"CREATE TEMP TRIGGER IF NOT EXISTS kept_removed BEFORE DELETE ON main.facts {_KEEP}",
    f"CREATE TEMP TRIGGER IF NOT EXISTS kept_updated BEFORE UPDATE ON main.facts {_KEEP}",
)
_THEN = f"""
SELECT {_rows.COLUMNS} FROM past WHERE id = ? AND sequence >= ? ORDER BY sequence LIMIT 1
"""
_FORGET = """
DELETE FROM past WHERE sequence < coalesce((SELECT min(sequence) FROM watched), sequence + 1)
"""


class Snapshot:
    """What a store held at one moment; use it in its ``with`` block, in one thread at a time.

    Args:
        state: The store's state then.
        read: Reads facts of that state by their identifiers.

    Attributes:
        sequence: The number of the last change before it.
        fingerprint: The store's fingerprint then.
    """

    def __init__(self, state: State, read: Callable[[Iterable[str]], list[Fact | None]]) -> None:
        self.sequence = state.sequence
        self.fingerprint = state.fingerprint
        self._read = read

    def get_many(self, ids: Iterable[str]) -> list[Fact | None]:
        """Return the facts that had these identifiers, in this order; None where none had."""
        return self._read(ids)


@contextmanager
def snapshot_of(database: Database) -> Iterator[Snapshot]:
    """Lend a view of the present state that lasts; see ``KnowledgeStore.snapshot``."""
    if database.in_memory:
        with _watched(database) as snapshot:
            yield snapshot
        return
    with database.read() as connection:
        yield Snapshot(
            read_state(connection),
            lambda ids: [_rows.get(connection, name) for name in ids],
        )


@contextmanager
def _watched(database: Database) -> Iterator[Snapshot]:
    with database.write() as connection:
        for statement in _PREPARE:
            connection.execute(statement)
        state = read_state(connection)
        query = "INSERT INTO watched (sequence) VALUES (?)"
        watch = connection.execute(query, (state.sequence,)).lastrowid

    def read(ids: Iterable[str]) -> list[Fact | None]:
        with database.read() as connection:
            return [_as_of(connection, name, state.sequence) for name in ids]

    try:
        yield Snapshot(state, read)
    finally:
        with suppress(StoreError), database.write() as connection:  # it may have been closed
            connection.execute("DELETE FROM watched WHERE watch = ?", (watch,))
            connection.execute(_FORGET)


def _as_of(connection: sqlite3.Connection, identifier: str, sequence: int) -> Fact | None:
    then = connection.execute(_THEN, (identifier, sequence)).fetchone()
    return _rows.get(connection, identifier) if then is None else _rows.new_fact(then)
