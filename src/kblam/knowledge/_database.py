"""Connections to one SQLite database: borrowed, never shared by two threads at a time."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from kblam.errors import KBLaMError, StoreCorruptError, StoreError
from kblam.knowledge import _schema
from kblam.knowledge._connection import Connection, connect
from kblam.knowledge._layout import VectorForm

__all__ = ["Database"]

_FOREIGN = "not a database"
_DAMAGE = ("malformed", _FOREIGN, "could not decode to utf-8")


class Database:
    """A pool of connections with one writer at a time.

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
        self.closed = False
        self._process = os.getpid()
        self._idle: deque[Connection] = deque()
        self._inherited: deque[Connection] = deque()
        self._writer = threading.RLock()
        if self.path is not None:
            _schema.check_place(self.path, create=create)
        try:
            self._idle.append(self._prepared(form, create))
        except StoreCorruptError as error:
            if self.path is not None and _FOREIGN in str(error.__cause__):
                _schema.explain_foreign(self.path)
            raise
        # A store that nobody closed is closed with its last reference.
        weakref.finalize(self, _close_all, self._idle, self._process)

    def _prepared(self, form: VectorForm | None, create: bool) -> Connection:
        """Open the first connection, and see that the database is a store."""
        with self._translated():
            connection = self._open()
            try:
                _schema.prepare(connection, self.name, form, create=create)
            except BaseException:
                connection.close()
                raise
            return connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Lend a connection inside one read transaction, so that all queries see one state."""
        with self._translated(), self._borrowed() as connection:
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
        with self._translated(), self._writer, self._borrowed() as connection:
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
            with self._translated(), self._writer, self._borrowed() as connection:
                connection.execute("VACUUM")

    def close(self) -> None:
        """Close every connection; one that is in use is closed when it comes back."""
        self.closed = True
        with self._writer if self.in_memory else nullcontext():
            _close_all(self._idle, self._process)

    @contextmanager
    def _borrowed(self) -> Iterator[Connection]:
        if self.in_memory:
            with self._writer:
                self._refuse_if_closed()
                yield self._idle[0]
            return
        self._refuse_if_closed()
        if os.getpid() != self._process:
            # A connection must not be carried into a forked process, nor be closed there.
            self._inherited, self._idle = self._idle, deque()
            self._process, self._writer = os.getpid(), threading.RLock()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._open()
        try:
            yield connection
        finally:
            self._idle.append(connection)
            self._close_if_asked()

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise StoreError(f"The knowledge store {self.name} has been closed. Open it again.")

    def _close_if_asked(self) -> None:
        """Close what came back after :meth:`close` was called in another thread."""
        if self.closed:
            self.close()

    def _open(self) -> Connection:
        return connect(str(self.path or ":memory:"))

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
            raise StoreError(f"The knowledge store {self.name} failed: {message}.") from error


def _close_all(idle: deque[Connection], process: int) -> None:
    """Close connections, unless they were opened before this process was forked."""
    if os.getpid() == process:
        while idle:
            idle.pop().close()
