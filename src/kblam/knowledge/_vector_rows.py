"""Where vectors are read from: the store's database, and the file beside it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kblam.errors import StoreCorruptError
from kblam.knowledge._fact_ids import FactIds
from kblam.knowledge._layout import Layout, Rows
from kblam.knowledge._patch import Part, Patch, patch
from kblam.knowledge._state import State, comes_from
from kblam.knowledge._vector_file import Content, keep, opened
from kblam.knowledge._vector_file import scratch as write_scratch
from kblam.knowledge.view import VIEW_CLAUSE, View, view_parameters

if TYPE_CHECKING:
    from kblam.knowledge._database import Database

__all__ = ["SOME_EMBEDDINGS", "Files", "Reader", "as_written"]

Int = npt.NDArray[np.int64]

# Above this share of changed facts, reading everything anew is quicker than patching.
_PATCH_LIMIT = 0.25
_CHUNK = 8192
# Fewer facts are read from the database as quickly as from a file beside it.
_LEAST_FILED = 4096

_ALL_ROWS = f"""
SELECT row, id, key_text, value_text FROM facts WHERE ({VIEW_CLAUSE}) ORDER BY row
"""
_CHANGED_ROWS = f"""
SELECT row, id, key_text, value_text FROM facts
WHERE id IN (SELECT value FROM json_each(:ids)) AND ({VIEW_CLAUSE}) ORDER BY row
"""
_CHANGED_DIGESTS = "SELECT digest FROM facts WHERE id IN (SELECT value FROM json_each(:ids))"
_JOURNAL = "SELECT fact_id, op FROM journal WHERE seq > ?"
# In the order of writing, which is the order on disk.
_ALL_EMBEDDINGS = "SELECT text, vector FROM embeddings NOT INDEXED WHERE encoder = :encoder"
SOME_EMBEDDINGS = """
SELECT text, vector FROM embeddings
WHERE text IN (SELECT value FROM json_each(:texts)) AND encoder = :encoder
"""


class Files:
    """The file of vectors beside a store.

    Args:
        database: The store.
        encoder: The encoder's name.
        state: The state that is read.
    """

    def __init__(self, database: Database, encoder: str, state: State) -> None:
        # No file can be trusted where states cannot be told apart.
        self.path = None if state.mark is None else database.path
        self.encoder = encoder
        self.state = state

    def opened(self, reader: Reader) -> Patch | None:
        """Open it and bring it up to date, for all facts; None if it cannot be trusted."""
        if self.path is None:
            return None
        stored = opened(self.path, self.state.store, self.encoder, reader.layout)
        if stored is None:
            return None
        header = stored.file.header
        if not comes_from(reader.connection, header.store, header.sequence, header.mark):
            return None
        count = header.count
        keys, values = stored.file.map()
        part = Part(stored.ids, stored.rows, keys[:count], values[:count], file=stored.file)
        everything = reader.of_everything()
        patched = everything.patched(part, header.sequence)
        if patched is None:
            return None
        # What was patched are the facts that the database has.
        digest = int(np.bitwise_xor.reduce(stored.digests))
        digest ^= int(np.bitwise_xor.reduce(stored.digests[patched.changes.touched]))
        for changed in everything.digests:
            digest ^= changed
        return patched if digest == self.state.digest else None

    def mapped(self, reader: Reader, part: Part, *, scratch: bool = False) -> Part:
        """Write vectors to a file and return them as mapped from it, if they are worth it."""
        mark = self.state.mark
        if self.path is None or mark is None or part.pending or len(part.rows) < _LEAST_FILED:
            return part
        content = Content(
            self.state.store,
            self.encoder,
            self.state.sequence,
            mark,
            part.ids,
            part.rows,
            # Nobody opens a file without a name, and so nobody checks it.
            np.zeros(len(part.rows), np.int64) if scratch else reader.all_digests(),
            part.keys,
            part.values,
        )
        file = write_scratch(self.path, content) if scratch else keep(self.path, content)
        if file is None:
            return part
        keys, values = file.map()
        count = len(part.rows)
        return Part(part.ids, part.rows, keys[:count], values[:count], file=file)


class Reader:
    """Reads vectors inside one read transaction."""

    def __init__(
        self, connection: sqlite3.Connection, view: View | None, encoder: int, layout: Layout
    ) -> None:
        self.connection = connection
        self.view = view
        self.encoder = encoder
        self.layout = layout
        self.parameters: dict[str, Any] = view_parameters(view)
        self.digests: list[int] = []  # of the facts that were changed, as they are now

    def of_everything(self) -> Reader:
        """Return a reader of the same state without a view."""
        return Reader(self.connection, None, self.encoder, self.layout)

    def all_rows(self) -> list[tuple[int, str, int, int]]:
        """Return the view's facts: row, identifier, hashes of key and value text."""
        return self.connection.execute(_ALL_ROWS, self.parameters).fetchall()

    def all_digests(self) -> Int:
        """Return the digests of all facts, in the order of their rows."""
        found = self.connection.execute("SELECT digest FROM facts ORDER BY row")
        return np.fromiter((digest for (digest,) in found), np.int64)

    def patched(self, before: Part, sequence: int) -> Patch | None:
        """Return what was read with its changed facts read anew; None if they are too many.

        Args:
            before: What was read.
            sequence: The journal's position at that time.
        """
        limit = int(_PATCH_LIMIT * len(before.rows)) + 64
        changed, removed = set(before.pending), set()
        for identifier, op in self.connection.execute(_JOURNAL, (sequence,)):
            changed.add(identifier)
            if op == "remove":
                removed.add(identifier)
            if len(changed) > limit:
                return None
        parameters = {**self.parameters, "ids": json.dumps(list(changed))}
        self.digests = [d for (d,) in self.connection.execute(_CHANGED_DIGESTS, parameters)]
        rows = self.connection.execute(_CHANGED_ROWS, parameters).fetchall()
        return patch(before, changed, removed, self.part(rows, changed=True))

    def of_view(self, whole: Part) -> Part:
        """Gather the view's facts from all facts."""
        rows = self.all_rows()
        numbers = np.array([row[0] for row in rows], np.int64)
        places = np.searchsorted(whole.rows, numbers)
        present = places < len(whole.rows)
        present[present] = whole.rows[places[present]] == numbers[present]
        places = places[present]
        return Part(
            ids=whole.ids.take(places),
            rows=numbers[present],
            keys=whole.keys[places],
            values=whole.values[places],
            pending=tuple(rows[i][1] for i in np.flatnonzero(~present).tolist()),
        )

    def part(self, rows: list[tuple[int, str, int, int]], *, changed: bool = False) -> Part:
        """Return the facts of these rows with their vectors."""
        with as_written():
            hashes = np.array([row[2:] for row in rows], np.int64).reshape(-1, 2)
        columns = [_Column(column, self.layout) for column in hashes.T]
        wanted = np.unique(hashes) if changed or self.view is not None else None
        for texts, vectors in self._embeddings(wanted):
            for column in columns:
                column.put(texts, vectors)
        keys, values = columns
        complete = keys.found & values.found
        present = complete.tolist()
        ids = [row[1] for row in rows]
        return Part(
            ids=FactIds.of(compress(ids, present)),
            rows=np.array([row[0] for row in rows], np.int64)[complete],
            keys=keys.vectors if all(present) else keys.vectors[complete],
            values=values.vectors if all(present) else values.vectors[complete],
            pending=tuple(i for i, there in zip(ids, present, strict=True) if not there),
        )

    def _embeddings(self, wanted: Int | None) -> Iterator[tuple[Int, Rows]]:
        """Yield text hashes (T) and their vectors (T), of all texts or of those wanted."""
        if wanted is None:
            statement, texts = _ALL_EMBEDDINGS, None
        else:
            statement, texts = SOME_EMBEDDINGS, json.dumps(wanted.tolist())
        cursor = self.connection.execute(statement, {"encoder": self.encoder, "texts": texts})
        while chunk := cursor.fetchmany(_CHUNK):
            with as_written():
                vectors = self.layout.of_blobs([vector for _, vector in chunk])
            yield np.array([text for text, _ in chunk], np.int64), vectors


@contextmanager
def as_written() -> Iterator[None]:
    """Say that the store is damaged where it holds values of other types than it wrote.

    Raises:
        StoreCorruptError: It does.
    """
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        raise StoreCorruptError(
            f"The store's vectors are damaged: {error}. Build the store anew."
        ) from error


class _Column:
    """One vector per fact, put in its place as the texts come by.

    Args:
        hashes: The facts' texts (M); several facts may have the same.
        layout: Of the vectors.
    """

    def __init__(self, hashes: Int, layout: Layout) -> None:
        self.vectors = layout.empty(len(hashes))
        self.found = np.zeros(len(hashes), bool)
        self._order = np.argsort(hashes)
        self._sorted = hashes[self._order]

    def put(self, texts: Int, vectors: Rows) -> None:
        """Give the vectors (T) of some texts (T) to all facts that have these texts."""
        first = np.searchsorted(self._sorted, texts, "left")
        count = np.searchsorted(self._sorted, texts, "right") - first
        source = np.repeat(np.arange(len(texts)), count)
        # Within each text's run of facts: its first, its second, ...
        step = np.arange(len(source)) - np.repeat(np.cumsum(count) - count, count)
        facts = self._order[first[source] + step]
        self.vectors[facts] = vectors[source]
        self.found[facts] = True
