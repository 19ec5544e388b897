"""The tables of a knowledge store, and the check that a file is one.

=============  ==================================================================================
facts          one row per fact; ``key_text`` and ``value_text`` are hashes of its two texts
journal        one row per change of a fact, written by triggers only, with a number drawn at
               random: two copies of a store that went different ways have different ones
encoders       the encoders whose vectors are kept; ``through`` is the journal's position up to
               which every fact has vectors
embeddings     one vector per encoder and text, shared by all facts with that text
meta           one row: who this store is, the exclusive or of all facts' digests, whether it
               mirrors a source, and from version 2 on the form that vectors are kept in
=============  ==================================================================================

A fact's vectors are found through the hashes of its texts. So a changed fact lacks vectors at
once, equal texts share one, and encoding can be broken off anywhere.

A store that never kept its vectors but in half precision stays at version 1.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kblam.errors import StoreCorruptError, StoreError
from kblam.knowledge._connection import READ_ONLY
from kblam.knowledge._layout import VectorForm

__all__ = ["check_place", "explain_foreign", "prepare", "read_form", "write_form"]

APPLICATION_ID = 0x4B42_4C4D  # "KBLM"
SCHEMA_VERSIONS = (1, 2)
_MAGIC = b"SQLite format 3\x00"
_HEADER = 100  # bytes that any database has
_UNWRITABLE = ("readonly database", "disk is full")

# SQLite has no exclusive or: a ^ b = (a | b) - (a & b), exact for the digests' 62 bits.
_XOR = "(digest | {0}.digest) - (digest & {0}.digest)"
_TOGGLE_NEW = f"UPDATE meta SET digest = {_XOR.format('NEW')}"
_TOGGLE_OLD = f"UPDATE meta SET digest = {_XOR.format('OLD')}"

_DROP_UNUSED = """
DELETE FROM embeddings
WHERE text IN (OLD.key_text, OLD.value_text)
  AND NOT EXISTS (SELECT 1 FROM facts WHERE key_text = embeddings.text)
  AND NOT EXISTS (SELECT 1 FROM facts WHERE value_text = embeddings.text)
"""

_CREATE_TABLES = (
    """
    CREATE TABLE facts (
        row INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        entity TEXT NOT NULL CHECK (entity <> ''),
        property TEXT NOT NULL CHECK (property <> ''),
        value TEXT NOT NULL CHECK (value <> ''),
        metadata TEXT NOT NULL,
        key_text INTEGER NOT NULL,
        value_text INTEGER NOT NULL,
        digest INTEGER NOT NULL,
        UNIQUE (entity, property, value)
    )
    """,
    "CREATE INDEX facts_property ON facts (property)",
    "CREATE INDEX facts_key_text ON facts (key_text)",
    "CREATE INDEX facts_value_text ON facts (value_text)",
    """
    CREATE TABLE journal (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        op TEXT NOT NULL,
        fact_id TEXT NOT NULL,
        mark INTEGER
    )
    """,
    """
    CREATE TABLE encoders (
        encoder INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        dimension INTEGER NOT NULL,
        through INTEGER NOT NULL DEFAULT 0
    )
    """,
    """
    CREATE TABLE embeddings (
        embedding INTEGER PRIMARY KEY,
        encoder INTEGER NOT NULL REFERENCES encoders (encoder),
        text INTEGER NOT NULL,
        vector BLOB NOT NULL
    )
    """,
    # Text first: the trigger that drops unused vectors looks for a text under every encoder.
    "CREATE UNIQUE INDEX embeddings_text ON embeddings (text, encoder)",
    """
    CREATE TABLE meta (
        store TEXT NOT NULL,
        digest INTEGER NOT NULL,
        mirror INTEGER NOT NULL DEFAULT 0
    )
    """,
)

_CREATE_TRIGGERS = (
    f"""
    CREATE TRIGGER fact_added AFTER INSERT ON facts BEGIN
        INSERT INTO journal (op, fact_id, mark) VALUES ('add', NEW.id, random());
        {_TOGGLE_NEW};
    END
    """,
    f"""
    CREATE TRIGGER fact_removed AFTER DELETE ON facts BEGIN
        INSERT INTO journal (op, fact_id, mark) VALUES ('remove', OLD.id, random());
        {_TOGGLE_OLD};
        {_DROP_UNUSED};
    END
    """,
    f"""
    CREATE TRIGGER fact_updated AFTER UPDATE ON facts BEGIN
        INSERT INTO journal (op, fact_id, mark) VALUES ('update', NEW.id, random());
        {_TOGGLE_OLD};
        {_TOGGLE_NEW};
        {_DROP_UNUSED};
    END
    """,
)

# Stores of versions that drew no marks get them from their present state on.
_ADD_MARKS = (
    "ALTER TABLE journal ADD COLUMN mark INTEGER",
    "UPDATE journal SET mark = random() WHERE seq = (SELECT max(seq) FROM journal)",
    "DROP TRIGGER IF EXISTS fact_added",
    "DROP TRIGGER IF EXISTS fact_removed",
    "DROP TRIGGER IF EXISTS fact_updated",
    *_CREATE_TRIGGERS,
)


def check_place(path: Path, *, create: bool) -> None:
    """Refuse a path where no file can be, before SQLite touches it.

    The file itself is left to SQLite. Whoever else opens and closes it takes away all locks that
    this process has on it, and with them the log that its other connections write to.

    Args:
        path: Where the store is, or is to be.
        create: Whether it may be made.

    Raises:
        StoreCorruptError: There is a file that is too short for a database.
        StoreError: The path is a folder, or the folder it should lie in does not exist or may not
            be entered; or there is no file, and none is to be made.
    """
    try:
        _check_place(path, create)
    except OSError as error:
        raise StoreError(f"The place {path} could not be looked at: {error.strerror}.") from error


def _check_place(path: Path, create: bool) -> None:
    if path.is_dir():
        raise StoreError(f"A knowledge store is a file, but {path} is a folder.")
    if not path.parent.is_dir():
        raise StoreError(f"There is no folder {path.parent} to keep a knowledge store in.")
    if not create and not path.exists():
        raise StoreError(f"Expected a knowledge store at {path}, found no such file.")
    # SQLite takes some files this short for empty ones. Nobody can have one open as a database.
    if path.exists() and 0 < path.stat().st_size < _HEADER:
        explain_foreign(path)


def explain_foreign(path: Path) -> None:
    """Say what a file is that SQLite found to be no database.

    Raises:
        StoreCorruptError: It does not even begin as one.
    """
    with path.open("rb") as file:
        start = file.read(len(_MAGIC))
    if start != _MAGIC:
        raise StoreCorruptError(
            f"{path} is not a knowledge store: a store is an SQLite database, and this file "
            f"begins with {start!r}. If it holds triples, load it with a triple source."
        )


def prepare(
    connection: sqlite3.Connection, name: str, form: VectorForm | None, *, create: bool
) -> None:
    """Create the tables in an empty database, or check that they are this version's.

    Nothing is changed in a database before it is known to be a store's, or to be empty.

    Args:
        connection: In autocommit mode.
        name: The path, for messages.
        form: What vectors are to be kept in. None: half precision in a new store, whatever it
            has in another.
        create: Whether an empty database is to become a store.

    Raises:
        StoreCorruptError: The database belongs to something else.
        StoreError: It was written by a newer version of kblam, or keeps vectors in another form;
            or it is empty, and no store is to be made of it.
    """
    there = _is_current(connection, name)
    if not there and not create:
        raise StoreError(
            f"Expected a knowledge store in {name}, found an empty file. Give the path of a store, "
            "or write facts to this one first."
        )
    _log_ahead(connection)
    if not there:
        _create(connection, name, form or "half")
    elif not _has_marks(connection):
        _add_marks(connection)
    found = read_form(connection)
    if form is not None and found != form:
        raise StoreError(
            f"Expected {name} to keep its vectors as {form!r}, but it keeps them as {found!r}. "
            f"Open it without saying how, or convert it: store.convert_vectors({form!r})."
        )


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Have changes written to a log first, so that readers need not wait; for good, in a file."""
    if connection.execute("PRAGMA journal_mode").fetchone()[0] in ("wal", "memory"):
        return
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if READ_ONLY not in str(error):  # what is never written to needs no log
            raise


def _create(connection: sqlite3.Connection, name: str, form: VectorForm) -> None:
    with _writing(connection):
        # Another process may have created the tables since the look above.
        if _is_current(connection, name):
            return
        for statement in (*_CREATE_TABLES, *_CREATE_TRIGGERS):
            connection.execute(statement)
        connection.execute("INSERT INTO meta (store, digest) VALUES (?, 0)", (uuid.uuid4().hex,))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSIONS[0]}")
        if form != "half":
            write_form(connection, form)


def _has_marks(connection: sqlite3.Connection) -> bool:
    query = "SELECT count(*) FROM pragma_table_info('journal') WHERE name = 'mark'"
    return bool(connection.execute(query).fetchone()[0])


def _add_marks(connection: sqlite3.Connection) -> None:
    """Have marks drawn in a store of an earlier version, unless it can only be read."""
    try:
        with _writing(connection):
            # Another process may have done it since the look before.
            if not _has_marks(connection):
                for statement in _ADD_MARKS:
                    connection.execute(statement)
    except sqlite3.OperationalError as error:
        if not any(sign in str(error) for sign in _UNWRITABLE):
            raise


@contextmanager
def _writing(connection: sqlite3.Connection) -> Iterator[None]:
    """All of what is done inside is committed, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def read_form(connection: sqlite3.Connection) -> VectorForm:
    """Return what the store keeps its vectors in.

    Raises:
        StoreCorruptError: It says something else than that.
    """
    if connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSIONS[0]:
        return "half"
    row = connection.execute("SELECT vectors FROM meta").fetchone()
    if row == ("half",):
        return "half"
    if row == ("int8",):
        return "int8"
    raise StoreCorruptError(
        "The store's own state is damaged: expected 'half' or 'int8' as the form of its vectors, "
        f"got {row!r:.100}. Restore it from a copy, or build it anew from its triples."
    )


def write_form(connection: sqlite3.Connection, form: VectorForm) -> None:
    """Say what the store keeps its vectors in, inside the transaction that converts them."""
    # Versions of kblam that know nothing of forms then refuse the store.
    if connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSIONS[0]:
        connection.execute("ALTER TABLE meta ADD COLUMN vectors TEXT NOT NULL DEFAULT 'half'")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSIONS[-1]}")
    connection.execute("UPDATE meta SET vectors = ?", (form,))


def _is_current(connection: sqlite3.Connection, name: str) -> bool:
    """Return True for a store of these versions, False for an empty database."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application == 0 and tables == 0:
        return False
    if application != APPLICATION_ID:
        raise StoreCorruptError(
            f"{name} is an SQLite database, but not a knowledge store (application id "
            f"{application:#x}, expected {APPLICATION_ID:#x})."
        )
    if version not in SCHEMA_VERSIONS:
        known = " and ".join(map(str, SCHEMA_VERSIONS))
        raise StoreError(
            f"{name} has schema version {version}, this kblam reads versions {known}. "
            "Use the version of kblam that wrote it, or build the store anew."
        )
    return True
