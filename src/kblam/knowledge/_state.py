"""A store's own row: which store it is, in which state, and whether it mirrors a source.

Every function runs inside the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from kblam.errors import StoreCorruptError

__all__ = ["State", "comes_from", "is_mirror", "mark_as_mirror", "may_mirror", "read_state"]

# Where the journal has no marks (a store of an earlier version that can only be read), the name
# means the column of the query around it.
_NO_MARKS = "(SELECT NULL AS mark)"
_MARK_AT = f"SELECT (SELECT mark FROM journal WHERE seq = ?) FROM {_NO_MARKS}"
_STATE = f"""
SELECT store, last, digest, CASE last WHEN 0 THEN 0 ELSE
    (SELECT mark FROM journal WHERE seq = last) END
FROM meta, {_NO_MARKS},
    (SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'journal'), 0) AS last)
"""


@dataclass(frozen=True, slots=True)
class State:
    """Which store it is, and which of its states.

    Attributes:
        store: Given once, when the store was created.
        sequence: The number of the last change.
        digest: The exclusive or of all facts' digests.
        mark: Drawn at random by the last change, 0 before any: two copies of a store that went
            different ways differ in it, also where they hold the same facts in other rows. None
            where a store of an earlier version can only be read.
    """

    store: str
    sequence: int
    digest: int
    mark: int | None

    @property
    def fingerprint(self) -> str:
        """Text that differs from state to state; equal histories have equal ones."""
        return f"{self.digest:016x}-{self.sequence}"


def read_state(connection: sqlite3.Connection) -> State:
    """Return the state that this transaction sees.

    Raises:
        StoreCorruptError: There is none.
    """
    row = connection.execute(_STATE).fetchone()
    kinds = None if row is None else [type(part) for part in row]
    if kinds not in ([str, int, int, int], [str, int, int, type(None)]):
        raise StoreCorruptError(
            f"The store's own state is damaged: expected its name and numbers, got {row!r}. "
            "Restore it from a copy, or build it anew from its triples."
        )
    return State(*row)


def comes_from(connection: sqlite3.Connection, store: str, sequence: int, mark: int | None) -> bool:
    """Whether the state that this transaction sees is that one, or came of it.

    If so, the journal tells all that changed since. A store that was restored from a copy came
    another way, however many changes there were.

    Args:
        connection: Inside a transaction.
        store: The identity of that state's store.
        sequence: The number of its last change.
        mark: What that change drew.
    """
    now = read_state(connection)
    if store != now.store or sequence > now.sequence:
        return False
    if sequence == now.sequence:
        return mark == now.mark
    then = connection.execute(_MARK_AT, (sequence,)).fetchone()[0] if sequence else 0
    return bool(mark == then)


def is_mirror(connection: sqlite3.Connection) -> bool:
    """Tell whether the store mirrors a source: its facts are the source's, and nobody else's."""
    return bool(connection.execute("SELECT mirror FROM meta").fetchone()[0])


def may_mirror(connection: sqlite3.Connection) -> bool:
    """Tell whether the store mirrors a source, or is empty and may become one's mirror."""
    empty = "SELECT NOT EXISTS (SELECT 1 FROM facts)"
    return is_mirror(connection) or bool(connection.execute(empty).fetchone()[0])


def mark_as_mirror(connection: sqlite3.Connection) -> None:
    """Mark a store that may be one as the mirror of a source."""
    connection.execute("UPDATE meta SET mirror = 1 WHERE mirror = 0")
