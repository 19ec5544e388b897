"""The vectors of a store's facts, read as two matrices."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kblam.errors import StoreCorruptError
from kblam.knowledge._rows import read_state
from kblam.knowledge.view import VIEW_CLAUSE, View, view_parameters

if TYPE_CHECKING:
    from kblam.knowledge._database import Database

__all__ = ["FactVectors"]

Half = npt.NDArray[np.float16]
Int = npt.NDArray[np.int64]

# Above this share of changed facts, reading everything anew is quicker than patching.
_PATCH_LIMIT = 0.25
_CHUNK = 8192

_ALL_ROWS = f"""
SELECT row, id, key_text, value_text FROM facts WHERE ({VIEW_CLAUSE}) ORDER BY row
"""
_CHANGED_ROWS = f"""
SELECT row, id, key_text, value_text FROM facts
WHERE id IN (SELECT value FROM json_each(:ids)) AND ({VIEW_CLAUSE}) ORDER BY row
"""
# In the order of writing, which is the order on disk.
_ALL_EMBEDDINGS = "SELECT text, vector FROM embeddings NOT INDEXED WHERE encoder = :encoder"
_SOME_EMBEDDINGS = """
SELECT text, vector FROM embeddings
WHERE text IN (SELECT value FROM json_each(:texts)) AND encoder = :encoder
"""


@dataclass(frozen=True, slots=True, eq=False)
class FactVectors:
    """The vectors of a view's facts under one encoder, in the order the facts were added.

    Attributes:
        fact_ids: The facts' identifiers (M).
        keys: Embeddings of the facts' key texts, float16 (M, E), read-only.
        values: Embeddings of the facts' value texts, float16 (M, E), read-only.
        encoder: The encoder's name.
        view: The view that was read.
        sequence: The journal's position at that state.
        fingerprint: The store's fingerprint at that state.
        pending: Facts of the view that have no vectors yet (``KnowledgeStore.encode`` makes
            them); they are in none of the above.
        rows: Where the store keeps the facts, ascending (M).
        store_id: Which store they were read from.
    """

    fact_ids: tuple[str, ...]
    keys: Half
    values: Half
    encoder: str
    view: View | None
    sequence: int
    fingerprint: str
    pending: tuple[str, ...] = ()
    rows: Int = field(default_factory=lambda: np.empty(0, np.int64), repr=False)
    store_id: str = ""

    def __len__(self) -> int:
        return len(self.fact_ids)

    @property
    def nbytes(self) -> int:
        """The memory that keys and values take."""
        return self.keys.nbytes + self.values.nbytes


@dataclass(frozen=True, slots=True)
class _Part:
    """Some facts with their vectors, and those of them that have none."""

    ids: Sequence[str]
    rows: Int
    keys: Half
    values: Half
    pending: tuple[str, ...]


def read_vectors(
    database: Database, encoder: str, view: View | None, previous: FactVectors | None
) -> FactVectors:
    """Read a view's vectors, or only what changed since ``previous`` was read."""
    with database.read() as connection:
        state = read_state(connection)
        known = connection.execute(
            "SELECT encoder, dimension FROM encoders WHERE name = ?", (encoder,)
        ).fetchone()
        reader = _Reader(connection, view, *(known or (0, 0)))
        part: _Part | None = None
        if previous is not None and (
            (previous.encoder, previous.view, previous.store_id) == (encoder, view, state.store)
            and previous.sequence <= state.sequence
            and previous.keys.shape[1] == reader.dimension
        ):
            if previous.fingerprint == state.fingerprint and not previous.pending:
                return previous
            part = reader.patched(previous)
        if part is None:
            part = reader.part(connection.execute(_ALL_ROWS, reader.parameters).fetchall())
    part.keys.flags.writeable = part.values.flags.writeable = False
    return FactVectors(
        fact_ids=tuple(part.ids),
        keys=part.keys,
        values=part.values,
        encoder=encoder,
        view=view,
        sequence=state.sequence,
        fingerprint=state.fingerprint,
        pending=part.pending,
        rows=part.rows,
        store_id=state.store,
    )


class _Reader:
    """Reads vectors inside one read transaction."""

    def __init__(
        self, connection: sqlite3.Connection, view: View | None, encoder: int, dimension: int
    ) -> None:
        self.connection = connection
        self.view = view
        self.encoder = encoder
        self.dimension = dimension
        self.parameters: dict[str, Any] = view_parameters(view)

    def patched(self, previous: FactVectors) -> _Part | None:
        """Return ``previous`` with its changed facts read anew; None if they are too many."""
        limit = int(_PATCH_LIMIT * len(previous)) + 64
        if len(previous.pending) > limit:
            return None
        journal = self.connection.execute(
            "SELECT DISTINCT fact_id FROM journal WHERE seq > ? LIMIT ?",
            (previous.sequence, limit + 1),
        )
        changed = {identifier for (identifier,) in journal}
        changed.update(previous.pending)
        if len(changed) > limit:
            return None
        parameters = {**self.parameters, "ids": json.dumps(list(changed))}
        fresh = self.part(
            self.connection.execute(_CHANGED_ROWS, parameters).fetchall(), changed=True
        )
        return _merge(previous, changed, fresh)

    def part(self, rows: list[tuple[int, str, int, int]], *, changed: bool = False) -> _Part:
        """Return the facts of these rows with their vectors."""
        hashes = np.array([row[2:] for row in rows], np.int64).reshape(-1, 2)
        columns = [_Column(column, self.dimension) for column in hashes.T]
        wanted = np.unique(hashes) if changed or self.view is not None else None
        for texts, vectors in self._embeddings(wanted):
            for column in columns:
                column.put(texts, vectors)
        keys, values = columns
        complete = keys.found & values.found
        present = complete.tolist()
        ids = [row[1] for row in rows]
        return _Part(
            ids=list(compress(ids, present)),
            rows=np.array([row[0] for row in rows], np.int64)[complete],
            keys=keys.vectors if all(present) else keys.vectors[complete],
            values=values.vectors if all(present) else values.vectors[complete],
            pending=tuple(i for i, there in zip(ids, present, strict=True) if not there),
        )

    def _embeddings(self, wanted: Int | None) -> Iterator[tuple[Int, Half]]:
        """Yield text hashes (T) and their vectors (T, E), of all texts or of those wanted."""
        if wanted is None:
            statement, texts = _ALL_EMBEDDINGS, None
        else:
            statement, texts = _SOME_EMBEDDINGS, json.dumps(wanted.tolist())
        cursor = self.connection.execute(statement, {"encoder": self.encoder, "texts": texts})
        while chunk := cursor.fetchmany(_CHUNK):
            blob = b"".join(vector for _, vector in chunk)
            if len(blob) != 2 * self.dimension * len(chunk):
                raise StoreCorruptError(
                    f"The store's vectors are damaged: {len(chunk)} of them take {len(blob)} "
                    f"bytes, expected {2 * self.dimension * len(chunk)}. Build the store anew."
                )
            vectors = np.frombuffer(blob, "<f2").reshape(len(chunk), self.dimension)
            yield np.array([text for text, _ in chunk], np.int64), vectors


class _Column:
    """One vector per fact, put in its place as the texts come by.

    Args:
        hashes: The facts' texts (M); several facts may have the same.
        dimension: The vectors' length E.
    """

    def __init__(self, hashes: Int, dimension: int) -> None:
        self.vectors: Half = np.empty((len(hashes), dimension), np.float16)
        self.found = np.zeros(len(hashes), bool)
        self._order = np.argsort(hashes)
        self._sorted = hashes[self._order]

    def put(self, texts: Int, vectors: Half) -> None:
        """Give the vectors (T, E) of some texts (T) to all facts that have these texts."""
        first = np.searchsorted(self._sorted, texts, "left")
        count = np.searchsorted(self._sorted, texts, "right") - first
        source = np.repeat(np.arange(len(texts)), count)
        # Within each text's run of facts: its first, its second, ...
        step = np.arange(len(source)) - np.repeat(np.cumsum(count) - count, count)
        facts = self._order[first[source] + step]
        self.vectors[facts] = vectors[source]
        self.found[facts] = True


def _merge(previous: FactVectors, changed: Collection[str], fresh: _Part) -> _Part:
    """Put the changed facts among those that stayed, in the order of their rows."""
    old = len(previous)
    kept = np.fromiter((i not in changed for i in previous.fact_ids), bool, count=old)
    source = np.concatenate([np.flatnonzero(kept), old + np.arange(len(fresh.ids))])
    rows = np.concatenate([previous.rows[kept], fresh.rows])
    order = np.argsort(rows)
    source = source[order]
    is_new = source >= old
    # One copy of what stayed (a row to be overwritten takes any), then the few new rows.
    index = np.where(is_new, 0, source)

    def merged(before: Half, after: Half) -> Half:
        if not old:
            return np.asarray(after[source], np.float16)
        result: Half = before.take(index, axis=0)
        result[is_new] = after[source[is_new] - old]
        return result

    names = (*previous.fact_ids, *fresh.ids)
    return _Part(
        ids=[names[i] for i in source.tolist()],
        rows=rows[order],
        keys=merged(previous.keys, fresh.keys),
        values=merged(previous.values, fresh.values),
        pending=fresh.pending,
    )
