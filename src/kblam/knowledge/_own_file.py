"""The file of an open database: is it still the one that was opened, and is its log its own?

SQLite finds the log of changes by the file's name alone. Where a file is renamed over one that is
open, the log of the old one lies beside the new one, and would be written into it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from kblam.errors import StoreError
from kblam.knowledge._connection import READ_ONLY, Connection, connect

__all__ = ["Identity", "OwnFile", "identity_of"]

Identity = tuple[int, int]

# Another process may be writing the file's pages while they are looked at.
_LOOKS = 3
_PAUSE = 0.1
# What SQLite says where it cannot make the files that it needs beside a database.
_NO_PLACE = (READ_ONLY, "unable to open database file")


def identity_of(path: Path) -> Identity | None:
    """Return which file is at a path, whatever its name; None if there is none.

    Raises:
        StoreError: This process may not look there.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(
            f"Expected to find a knowledge store at {path}, but may not look there: "
            f"{error.strerror}. Allow this process to enter its folder."
        ) from error
    return found.st_dev, found.st_ino


class OwnFile:
    """A database's file.

    Args:
        path: Where it is, or is to be.
        name: Of the store, for messages.

    Attributes:
        identity: Which file it is, once it was opened.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.identity: Identity | None = None
        self._name = name
        # SQLite keeps the log beside the file itself, not beside a link to it.
        self._target = Path(os.path.realpath(path))
        self._log = self._target.with_name(f"{self._target.name}-wal")
        self._own_log: Identity | None = None

    def note(self) -> None:
        """Remember which file and which log are open."""
        self.identity = self.identity or identity_of(self.path)
        self._own_log = self._own_log or identity_of(self._log)

    def expect_same(self, now: Identity | None) -> None:
        """Expect that the file is still the one that was opened.

        Args:
            now: Which file is at the path now.

        Raises:
            StoreError: It is another one, or gone: what is written would be lost with the old one.
        """
        if self.identity is not None and now != self.identity:
            happened = "deleted" if now is None else "replaced by another file"
            raise StoreError(
                f"The knowledge store {self._name} was {happened} while it was open. Close it in "
                "every program that has it open, and open it again. To replace what a store holds, "
                "leave its file: store.sync(KnowledgeStore(new))."
            )

    def open(self) -> Connection:
        """Open a connection that can read at least.

        Where neither file nor folder may be written to, SQLite has no place for its locks. What
        lies there is then taken to stay as it is for as long as the connection is lent.

        Raises:
            sqlite3.Error: SQLite cannot open the file, or it is damaged.
            StoreError: The file cannot be read without its log, and that not without writing.
        """
        connection = connect(str(self.path))
        try:
            connection.execute("PRAGMA schema_version").fetchone()
        except sqlite3.OperationalError as error:
            connection.close()
            if not any(sign in str(error) for sign in _NO_PLACE) or self._may_write_beside():
                raise
        except BaseException:
            connection.close()
            raise
        else:
            return connection
        if self._has_log():
            raise StoreError(
                f"The knowledge store {self._name} was not closed where it was written: its last "
                f"changes are in {self._log.name}, and reading them takes a folder that may be "
                "written to. Open and close it where that is so, then copy the file."
            )
        connection = connect(f"{self._target.as_uri()}?immutable=1", uri=True)
        connection.is_frozen = True
        return connection

    def _may_write_beside(self) -> bool:
        if not self._target.is_file():
            return True  # what is not there cannot be read either: that is another error
        effective = os.access in os.supports_effective_ids
        return os.access(self._target.parent, os.W_OK, effective_ids=effective)

    def _has_log(self) -> bool:
        return self._log.exists() and self._log.stat().st_size > 0

    def expect_own_log(self) -> None:
        """Expect that the log beside the file was written for it, before SQLite believes it.

        Call it only where this process does not have the file open: closing what looks at the
        file past SQLite's locks takes these away.

        Raises:
            StoreError: It is the log of another store.
        """
        if not self._has_log():
            return
        for look in range(_LOOKS):
            time.sleep(_PAUSE if look else 0)
            own = self._store("immutable=1")
            # A reader reads the log, but never writes it into the file.
            if own is None or self._store("mode=ro") in (own, None):
                return
        raise StoreError(
            f"Beside the knowledge store {self._name} lies the log of another one, "
            f"{self._log.name}: the file was put in the place of one that was open. Close that in "
            f"every program that has it open, then delete {self._log.name} and "
            f"{self._shared.name}."
        )

    def _store(self, how: str) -> str | None:
        """Return which store the file is, opened in some way; None if that cannot be told."""
        try:
            with closing(connect(f"{self._target.as_uri()}?{how}", uri=True)) as connection:
                row = connection.execute("SELECT store FROM meta").fetchone()
        except sqlite3.OperationalError:  # no such table, locked, not to be opened
            return None
        except sqlite3.DatabaseError:
            return None if how == "immutable=1" else ""  # file and log together make no sense
        return None if row is None else str(row[0])

    @property
    def _shared(self) -> Path:
        return self._target.with_name(f"{self._target.name}-shm")

    def leave_log(self) -> None:
        """The last connection was closed: see that a file put in this one's place takes no log.

        SQLite leaves the log of a file that was renamed or deleted where it is.
        """
        own, self._own_log = self._own_log, None
        if own is None or identity_of(self._target) == self.identity:
            return
        if identity_of(self._log) == own:
            for left in (self._log, self._shared):
                with suppress(OSError):
                    left.unlink(missing_ok=True)
