"""The examination of a whole store."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from kblam.errors import StoreCorruptError
from kblam.knowledge._layout import Layout
from kblam.knowledge._rows import COLUMNS, content_columns, new_fact
from kblam.knowledge._schema import read_form
from kblam.knowledge._state import read_state
from kblam.knowledge._vector_check import is_damaged
from kblam.knowledge._vector_file import beside
from kblam.knowledge._vector_rows import as_written

__all__ = ["check_store"]

_ROWS = f"SELECT {COLUMNS}, key_text, value_text, digest FROM facts"
_UNUSED = """
SELECT count(*) FROM embeddings
WHERE text NOT IN (SELECT key_text FROM facts) AND text NOT IN (SELECT value_text FROM facts)
"""
_UNEVEN = "SELECT count(*) FROM embeddings WHERE encoder = ? AND length(vector) <> ?"
# The last word of the journal on every fact that it names.
_LAST_SAID = """
SELECT count(*) FROM (SELECT fact_id, op, max(seq) FROM journal GROUP BY fact_id)
WHERE (op = 'remove') = (fact_id IN (SELECT id FROM facts))
"""
_UNSAID = "SELECT count(*) FROM facts WHERE id NOT IN (SELECT fact_id FROM journal)"


def check_store(connection: sqlite3.Connection, name: str, path: Path | None) -> None:
    """Look at every page and every row; see ``KnowledgeStore.check``.

    Args:
        connection: Inside a transaction.
        name: The store's name, for messages.
        path: Where it lies, None in memory.
    """
    faults = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
    if not faults:
        faults = _row_faults(connection)
    if faults:
        raise StoreCorruptError(
            f"The knowledge store {name} is damaged: {'; '.join(faults[:5])}. Restore it from a "
            "copy, or build it anew from its triples."
        )
    if path is not None:
        _check_beside(connection, path)


def _check_beside(connection: sqlite3.Connection, path: Path) -> None:
    """Look at every vector in the files beside a store that is whole."""
    store, form = read_state(connection).store, read_form(connection)
    for encoder, dimension in connection.execute("SELECT name, dimension FROM encoders"):
        if is_damaged(path, store, encoder, Layout(form, dimension)):
            raise StoreCorruptError(
                f"The knowledge store {path} is whole, but vectors in the file beside it are "
                f"damaged. Delete {beside(path, encoder)}, and open the store anew: the file is "
                "made again."
            )


def _row_faults(connection: sqlite3.Connection) -> list[str]:
    faults = []
    total = 0
    for row in connection.execute(_ROWS):
        fact = new_fact(row[:-3])
        hashes = content_columns(fact.id, fact)[-3:]
        if hashes != row[-3:]:
            faults.append(f"fact {fact.id!r} was written by something else")
        total ^= row[-1]
    if total != read_state(connection).digest:
        faults.append("the facts are not those that the fingerprint stands for")
    for query, fault in (
        (_UNUSED, "vectors of no fact"),
        (_LAST_SAID, "facts that the journal knows otherwise"),
        (_UNSAID, "facts that the journal does not know"),
    ):
        if count := connection.execute(query).fetchone()[0]:
            faults.append(f"{count} {fault}")
    form = read_form(connection)
    for encoder, dimension in connection.execute("SELECT encoder, dimension FROM encoders"):
        with as_written():
            expected = Layout(form, dimension).nbytes
        if count := connection.execute(_UNEVEN, (encoder, expected)).fetchone()[0]:
            faults.append(f"{count} vectors of the wrong length")
    return faults
