"""One connection to SQLite, as a store uses it."""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from kblam.knowledge._search import words_occur

__all__ = ["READ_ONLY", "Connection", "connect"]

#: What SQLite says where nothing may be written.
READ_ONLY = "readonly database"
_BUSY_SECONDS = 60.0


class Connection(sqlite3.Connection):
    """A connection whose every failure is an error of SQLite's.

    One to a file is of no use in a process that was forked since: not even to end a transaction,
    which is written down where the process that began it sees it.

    Attributes:
        process: Which process may use it; None for any.
        is_frozen: It takes the file for one that never changes, and is to be lent once only.

    Raises:
        sqlite3.Error: From each method, as SQLite says it.
    """

    process: int | None = None
    is_frozen = False

    @property
    def is_usable(self) -> bool:
        """Whether this process may use it."""
        return self.process in (None, os.getpid())

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """Run one statement."""
        self._expect_own()
        try:
            return super().execute(*arguments)
        except UnicodeDecodeError as error:
            raise _damage(error) from error

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        """Run one statement again and again."""
        self._expect_own()
        try:
            return super().executemany(*arguments)
        except UnicodeDecodeError as error:
            raise _damage(error) from error

    def rollback(self) -> None:
        """End a transaction, in the process that began it."""
        if self.is_usable:
            super().rollback()

    def _expect_own(self) -> None:
        if not self.is_usable:
            raise sqlite3.ProgrammingError("it was opened before this process was forked")


def _damage(error: UnicodeDecodeError) -> sqlite3.DatabaseError:
    """Return the error that Python could not make: SQLite quotes a damaged schema as it is."""
    return sqlite3.DatabaseError(f"malformed: {error.object.decode(errors='replace'):.200}")


def connect(place: str, *, uri: bool = False) -> Connection:
    """Open a connection outside of any transaction, which any thread may use in its turn.

    Args:
        place: A path, or ``":memory:"``.
        uri: Whether it is the URI of a path, with how to open it.

    Raises:
        sqlite3.Error: SQLite cannot open it.
    """
    connection = sqlite3.connect(
        place,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        factory=Connection,
        uri=uri,
    )
    connection.create_function("words_occur", 4, words_occur, deterministic=True)
    connection.process = None if place == ":memory:" else os.getpid()
    return connection
