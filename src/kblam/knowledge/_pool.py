"""The connections of one database: lent, never shared by two threads at a time."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kblam.errors import StoreError
from kblam.knowledge import _forks
from kblam.knowledge._connection import Connection, connect
from kblam.knowledge._own_file import OwnFile, identity_of

__all__ = ["FilePool", "MemoryPool"]

# How long a fork waits (seconds) for other threads to give back what they were lent.
_PATIENCE = 1.0


class MemoryPool:
    """The one connection to a database in memory, which all threads take in turn.

    Args:
        name: Of the store, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._turn = threading.RLock()
        self._held = False
        self._torn = False
        self.closed = False
        _forks.watch(self)
        self._connection = connect(":memory:")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Lend the connection.

        Raises:
            StoreError: The store has been closed, or was in use when this process was forked.
        """
        self._refuse_if_torn()
        with self._turn:
            _refuse_if_closed(self.closed, self._name)
            yield self._connection

    writing = reading

    def close(self) -> None:
        """Close the connection, when it is given back."""
        self.closed = True
        if not self._torn:
            with self._turn:
                self._connection.close()

    def before_fork(self) -> None:
        """Wait a while for the other threads: what is in memory is copied as it is."""
        self._held = self._turn.acquire(timeout=_PATIENCE)

    def after_fork(self, *, in_child: bool) -> bool:
        """Go on; tell whether the copy in a new process is torn."""
        if self._held:
            self._turn.release()
        self._torn = self._torn or (in_child and not self._held)
        return self._torn

    def has_open(self, file: object) -> bool:
        """A database in memory is no file."""
        return False

    def _refuse_if_torn(self) -> None:
        if self._torn:
            raise _in_use_at_fork(self._name)


class FilePool:
    """Connections to a database in a file, opened as they are needed.

    Args:
        path: The file.
        name: Of the store, for messages.

    Raises:
        StoreError: The file was in use when this process was forked, or the log beside it is
            that of another store.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._file = OwnFile(path, name)
        self._name = name
        self.closed = False
        self._writer = threading.RLock()
        # Taken to open, lend and take back: during a fork nothing of that happens.
        self._desk = threading.Condition(threading.RLock())
        self._idle: deque[Connection] = deque()
        self._lent: dict[Connection, int] = {}  # and the threads that have them
        self._process = os.getpid()
        _forks.watch(self)
        # A store that nobody closed is closed with its last reference.
        weakref.finalize(self, _close_all, self._idle, self._file)
        now = identity_of(path)
        if now is not None and not _forks.is_open(now) and not _forks.is_carried_over(now):
            self._file.expect_own_log()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Lend a connection.

        Raises:
            StoreError: The store has been closed, or was in use when this process was forked.
        """
        connection = self._take()
        try:
            yield connection
        finally:
            self._give_back(connection)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Lend a connection to one writer at a time.

        Raises:
            StoreError: As for :meth:`reading`.
        """
        with self._writer, self.reading() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection; one that is in use is closed when it comes back."""
        with self._desk:
            self.closed = True
            self._close_idle()

    def _take(self) -> Connection:
        with self._desk:
            _refuse_if_closed(self.closed, self._name)
            now = identity_of(self._file.path)
            if self._process != os.getpid() or _forks.is_carried_over(now):
                raise _in_use_at_fork(self._name)
            self._file.expect_same(now)
            connection = self._idle.pop() if self._idle else self._file.open()
            self._lent[connection] = threading.get_ident()
            return connection

    def _give_back(self, connection: Connection) -> None:
        if self._process != os.getpid():
            return  # it is another process's: nothing must be done with it here
        with self._desk:
            self._file.note()
            del self._lent[connection]
            if connection.is_frozen:
                connection.close()
            else:
                self._idle.append(connection)
            if self.closed:
                self._close_idle()
            self._desk.notify_all()

    def _close_idle(self) -> None:
        _close_all(self._idle, None if self._lent else self._file)

    def before_fork(self) -> None:
        """Close all connections, those in use after a moment's wait; nothing is lent meanwhile."""
        self._desk.acquire()
        self._desk.wait_for(self._others_are_done, _PATIENCE)
        self._close_idle()

    def _others_are_done(self) -> bool:
        mine = threading.get_ident()
        return all(thread == mine for thread in self._lent.values())

    def after_fork(self, *, in_child: bool) -> bool:
        """Go on; tell whether a connection that is still open is now in a new process."""
        self._desk.release()
        if not in_child:
            return False
        self._desk = threading.Condition(threading.RLock())
        self._writer = threading.RLock()
        if self._lent or self._idle:
            return True
        self._process = os.getpid()
        return False

    def has_open(self, file: object) -> bool:
        """Whether this has connections to a certain file."""
        return bool(self._lent or self._idle) and file == self._file.identity


def _refuse_if_closed(closed: bool, name: str) -> None:
    if closed:
        raise StoreError(f"The knowledge store {name} has been closed. Open it again.")


def _in_use_at_fork(name: str) -> StoreError:
    return StoreError(
        f"The knowledge store {name} was in use when this process was forked, so that it cannot "
        "be used here. Fork while nothing reads or writes it, or start processes by the method "
        "'spawn' or 'forkserver', and open it there."
    )


def _close_all(idle: deque[Connection], file: OwnFile | None) -> None:
    """Close connections, unless they were opened before this process was forked.

    Args:
        idle: The connections.
        file: Their file, if no others to it are lent.
    """
    while idle and idle[-1].is_usable:
        idle.pop().close()
    if file is not None and not idle:
        file.leave_log()
