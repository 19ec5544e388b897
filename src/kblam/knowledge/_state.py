"""A store's own row: which store it is, in which state, and whether it mirrors a source.

Every function runs inside the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from kblam.errors import StoreCorruptError

__all__ = ["State", "is_mirror", "mark_as_mirror", "may_mirror", "read_state"]

_STATE = """
SELECT store, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'journal'), 0), digest
FROM meta
"""


@dataclass(frozen=True, slots=True)
class State:
    """Which store it is, and which of its states.

    Attributes:
        store: Given once, when the store was created.
        sequence: The number of the last change.
        digest: The exclusive or of all facts' digests.
    """

    store: str
    sequence: int
    digest: int

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
    if row is None or [type(part) for part in row] != [str, int, int]:
        raise StoreCorruptError(
            f"The store's own state is damaged: expected its name and two numbers, got {row!r}. "
            "Restore it from a copy, or build it anew from its triples."
        )
    return State(*row)


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
