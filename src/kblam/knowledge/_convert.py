"""Which form a store keeps its vectors in, and changing it."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from kblam.errors import StoreError
from kblam.knowledge._database import Database
from kblam.knowledge._layout import Layout, VectorForm
from kblam.knowledge._schema import read_form, write_form
from kblam.knowledge._vector_rows import as_written

__all__ = ["convert_vectors"]

_CHUNK = 8192
_PAGE = """
SELECT embedding, vector FROM embeddings
WHERE encoder = ? AND embedding > ? ORDER BY embedding LIMIT ?
"""


def convert_vectors(database: Database, form: VectorForm) -> bool:
    """Keep a store's vectors in another form; see ``KnowledgeStore.convert_vectors``.

    Returns:
        Whether the store kept them in another one.
    """
    with database.write() as connection:
        before = read_form(connection)
        if before == form:
            return False
        encoders = connection.execute("SELECT encoder, dimension FROM encoders").fetchall()
        for encoder, dimension in encoders:
            _convert(connection, encoder, Layout(before, dimension), Layout(form, dimension))
        write_form(connection, form)
    # The vectors are converted. Where there is no room to tidy up, the file stays as long.
    with suppress(StoreError):
        database.compact()
    return True


def _convert(connection: sqlite3.Connection, encoder: int, before: Layout, after: Layout) -> None:
    last = 0
    while page := connection.execute(_PAGE, (encoder, last, _CHUNK)).fetchall():
        with as_written():
            rows = after.packed(before.of_blobs([vector for _, vector in page]))
        numbers = [number for number, _ in page]
        connection.executemany(
            "UPDATE embeddings SET vector = ? WHERE embedding = ?",
            zip((row.tobytes() for row in rows), numbers, strict=True),
        )
        last = numbers[-1]
