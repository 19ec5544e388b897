"""What a store is to hold, put aside before the store is changed.

The triples go to a private SQLite database that spills to an unnamed temporary file: they take
little memory however many they are, and are gone with the process, however it ends.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from kblam.errors import FactError, StoreError
from kblam.knowledge._layout import VectorForm
from kblam.knowledge._rows import metadata_json
from kblam.knowledge.triple import Triple

__all__ = ["Stage", "Stopped", "opened_stage"]

_CREATE = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA cache_size = -32768",  # KiB
    """
    CREATE TABLE wanted (
        number INTEGER PRIMARY KEY,
        entity TEXT NOT NULL,
        property TEXT NOT NULL,
        value TEXT NOT NULL,
        id TEXT,
        metadata TEXT NOT NULL,
        UNIQUE (entity, property, value)
    )
    """,
    "CREATE UNIQUE INDEX wanted_id ON wanted (id) WHERE id IS NOT NULL",
    """
    CREATE TABLE vectors (
        encoder INTEGER NOT NULL, text INTEGER NOT NULL, form TEXT NOT NULL, vector BLOB NOT NULL,
        PRIMARY KEY (encoder, text)
    )
    """,
    "BEGIN",
)
# Of triples that say the same, the first counts.
_PUT = """
INSERT INTO wanted (number, entity, property, value, id, metadata) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (entity, property, value) DO NOTHING
"""
_FIND = """
SELECT number, id, metadata FROM wanted WHERE entity = ? AND property = ? AND value = ?
"""
_GET = "SELECT entity, property, value, id, metadata FROM wanted WHERE number = ?"


class Stopped(Exception):  # noqa: N818  # no error: what a synchronisation ends with when told to
    """A synchronisation was told to stop before it changed anything."""


@contextmanager
def opened_stage() -> Iterator[Stage]:
    """Lend an empty stage.

    Raises:
        StoreError: There is no room for temporary files.
    """
    connection = sqlite3.connect("", isolation_level=None)
    try:
        for statement in _CREATE:
            connection.execute(statement)
        yield Stage(connection)
    finally:
        connection.close()


class Stage:
    """Triples, numbered from 0 in the order of their source, and vectors for them.

    Args:
        connection: To a private database.

    Attributes:
        count: How many there are; what says the same counts once.
        named: How many of them have identifiers.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.count = 0
        self.named = 0

    def fill(self, triples: Iterable[Triple], stopped: Callable[[], bool]) -> None:
        """Put triples aside.

        Args:
            triples: Read once.
            stopped: Asked at each of them.

        Raises:
            FactError: Two of them have the same identifier.
            Stopped: ``stopped`` said so.
            StoreError: There is no room for temporary files.
        """
        for triple in triples:
            if stopped():
                raise Stopped
            parts = (triple.entity, triple.property, triple.value, triple.id)
            try:
                put = self._connection.execute(_PUT, (self.count, *parts, metadata_json(triple)))
            except sqlite3.IntegrityError:
                raise self._named_twice(triple) from None
            except sqlite3.OperationalError as error:
                raise _no_room(error) from error
            if put.rowcount:
                self.count += 1
                self.named += triple.id is not None

    def _named_twice(self, triple: Triple) -> FactError:
        query = "SELECT entity, property, value FROM wanted WHERE id = ?"
        other = self._connection.execute(query, (triple.id,)).fetchone()
        return FactError(
            f"The fact id {triple.id!r} is taken by {other}; it cannot also name "
            f"{(triple.entity, triple.property, triple.value)}. Give each fact an id of its own, "
            "or none."
        )

    def find(self, entity: str, name: str, value: str) -> tuple[int, str | None, str] | None:
        """Return number, identifier and metadata (as JSON) of the triple that says this."""
        found: tuple[int, str | None, str] | None
        found = self._connection.execute(_FIND, (entity, name, value)).fetchone()
        return found

    def names(self, identifier: str) -> bool:
        """Whether a triple has this identifier."""
        if not self.named:
            return False
        query = "SELECT 1 FROM wanted WHERE id = ?"
        return self._connection.execute(query, (identifier,)).fetchone() is not None

    def triple(self, number: int) -> Triple:
        """Return the triple of this number."""
        row = self._connection.execute(_GET, (number,)).fetchone()
        entity, name, value, identifier, metadata = row
        if metadata == "{}":
            return Triple(entity, name, value, identifier)
        return Triple(entity, name, value, identifier, json.loads(metadata))

    def keep_vectors(
        self, encoder: int, form: VectorForm, vectors: Iterable[tuple[int, bytes]]
    ) -> None:
        """Put vectors aside, under the hashes of their texts.

        Args:
            encoder: The encoder's number in the store.
            form: What the vectors are in.
            vectors: Pairs of a text's hash and its vector.

        Raises:
            StoreError: There is no room for temporary files.
        """
        try:
            self._connection.executemany(
                "INSERT OR IGNORE INTO vectors VALUES (?, ?, ?, ?)",
                ((encoder, text, form, vector) for text, vector in vectors),
            )
        except sqlite3.OperationalError as error:
            raise _no_room(error) from error

    def vectors(self) -> Iterator[tuple[int, int, VectorForm, bytes]]:
        """Iterate over what :meth:`keep_vectors` was given: encoder, text, form, vector."""
        return self._connection.execute("SELECT encoder, text, form, vector FROM vectors")


def _no_room(error: sqlite3.OperationalError) -> StoreError:
    return StoreError(
        f"What a source says could not be put aside: {error}. Make room in the folder for "
        "temporary files, or name another one in SQLITE_TMPDIR."
    )
