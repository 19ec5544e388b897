"""One SQLite database: its transactions, and its errors as the store's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kblam.errors import KBLaMError, StoreCorruptError, StoreError
from kblam.knowledge import _schema
from kblam.knowledge._connection import READ_ONLY, Connection
from kblam.knowledge._layout import VectorForm
from kblam.knowledge._pool import FilePool, MemoryPool

__all__ = ["Database"]

_FOREIGN = "not a database"
_DAMAGE = ("malformed", _FOREIGN, "could not decode to utf-8")


class Database:
    """A database with one writer at a time.

    On a file, readers see the state committed last (write-ahead log) and never wait. In memory
    there is one connection, which readers and writers take in turn.

    Args:
        path: A file, created if it does not exist, or ``":memory:"``.
        form: What its vectors are to be kept in, None for whatever it has.
        create: Make a store where there is none.

    Raises:
        StoreCorruptError: The file is not a knowledge store, or it is damaged.
        StoreError: The file cannot be opened, or keeps its vectors in another form; or there is
            none, and none is to be made.
    """

    def __init__(
        self, path: str | Path, form: VectorForm | None = None, *, create: bool = True
    ) -> None:
        self.in_memory = str(path) == ":memory:"
        self.path = None if self.in_memory else Path(path).absolute()
        self.name = str(path)
        if self.path is not None:
            _schema.check_place(self.path, create=create)
        with self._translated():
            self._pool = self._opened(form, create)

    def _opened(self, form: VectorForm | None, create: bool) -> FilePool | MemoryPool:
        """Open the first connection, and see that the database is a store."""
        pool = MemoryPool(self.name) if self.path is None else FilePool(self.path, self.name)
        try:
            with pool.reading() as connection:
                _schema.prepare(connection, self.name, form, create=create)
        except BaseException as error:
            pool.close()
            if self.path is not None and _FOREIGN in str(error):
                _schema.explain_foreign(self.path)
            raise
        return pool

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._pool.closed

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Lend a connection inside one read transaction, so that all queries see one state."""
        with self._translated(), self._pool.reading() as connection:
            if connection.in_transaction:  # in memory, inside this thread's own write
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.rollback()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Lend a connection inside one write transaction: all of it is committed, or nothing."""
        with self._translated(), self._pool.writing() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise

    def compact(self) -> None:
        """Give back to the disk what the file no longer needs.

        Raises:
            StoreError: There is no room to write the file anew.
        """
        if not self.in_memory:
            with self._translated(), self._pool.writing() as connection:
                connection.execute("VACUUM")

    def close(self) -> None:
        """Close every connection; one that is in use is closed when it comes back."""
        self._pool.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise SQLite's errors as the store's own."""
        try:
            yield
        except KBLaMError:
            raise
        except sqlite3.Error as error:
            message = str(error)
            if any(sign in message.lower() for sign in _DAMAGE):
                raise StoreCorruptError(
                    f"The knowledge store {self.name} is damaged: {message}. Restore it from a "
                    "copy, or build it anew from its triples."
                ) from error
            if READ_ONLY in message:
                raise StoreError(
                    f"The knowledge store {self.name} can only be read here: its file or folder "
                    "may not be written to. Allow that, or write to a copy."
                ) from error
            raise StoreError(f"The knowledge store {self.name} failed: {message}.") from error
