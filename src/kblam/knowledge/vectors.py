"""The vectors of a store's facts, read as two matrices.

All vectors of a large store in a file are mapped from a second file beside it
(:mod:`kblam.knowledge._vector_file`), which is written by whoever first reads them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kblam.errors import StoreCorruptError
from kblam.knowledge._layout import Layout, Rows, VectorForm, layout_of
from kblam.knowledge._patch import Part, RowChanges
from kblam.knowledge._schema import read_form
from kblam.knowledge._state import comes_from, read_state
from kblam.knowledge._vector_rows import Files, Reader
from kblam.knowledge.view import View

if TYPE_CHECKING:
    from kblam.knowledge._database import Database

__all__ = ["FactVectors"]

Int = npt.NDArray[np.int64]

# No encoder makes longer vectors; what is damaged must not ask for all memory.
_LONGEST = 1 << 17


@dataclass(frozen=True, slots=True, eq=False)
class FactVectors:
    """The vectors of a view's facts under one encoder, in the order the facts were added.

    Attributes:
        fact_ids: The facts' identifiers (M).
        keys: Embeddings of the facts' key texts, float16 (M, E), read-only. Of a store that
            keeps int8, an array of M records with the fields ``codes``, int8 (M, E), and
            ``scale``, float32 (M), what the codes are multiplied by; :func:`unpacked` reads both.
        values: Embeddings of the facts' value texts, as the keys.
        encoder: The encoder's name.
        view: The view that was read.
        sequence: The journal's position at that state.
        fingerprint: The store's fingerprint at that state.
        pending: Facts of the view that have no vectors yet (``KnowledgeStore.encode`` makes
            them); they are in none of the above.
        rows: Where the store keeps the facts, ascending (M).
        store_id: Which store they were read from.
        mark: What the last change of that state drew at random: it tells states apart that copies
            of one store came to by different ways. None: a store of an earlier version that can
            only be read.
        changes: What differs from the earlier reading that this one went on from; None where
            everything was read.
        part: The same with what a later reading goes on from.
    """

    fact_ids: Sequence[str]
    keys: Rows
    values: Rows
    encoder: str
    view: View | None
    sequence: int
    fingerprint: str
    pending: tuple[str, ...] = ()
    rows: Int = field(default_factory=lambda: np.empty(0, np.int64), repr=False)
    store_id: str = ""
    mark: int | None = None
    changes: RowChanges | None = field(default=None, kw_only=True, repr=False)
    part: Part = field(kw_only=True, repr=False)

    def __len__(self) -> int:
        return len(self.fact_ids)

    @property
    def dimension(self) -> int:
        """The length E of a vector."""
        return layout_of(self.keys).dimension

    @property
    def form(self) -> VectorForm:
        """What the vectors are kept in."""
        return layout_of(self.keys).form

    @property
    def nbytes(self) -> int:
        """The memory that keys and values take."""
        return self.keys.nbytes + self.values.nbytes


def read_vectors(
    database: Database, encoder: str, view: View | None, previous: FactVectors | None
) -> FactVectors:
    """Read a view's vectors, or only what changed since ``previous`` was read."""
    with database.read() as connection:
        return _vectors(connection, database, encoder, view, previous)


def vectors_of_all(
    connection: sqlite3.Connection, database: Database, encoder: str, previous: FactVectors | None
) -> FactVectors:
    """Read the vectors of all facts inside a read transaction that is under way."""
    return _vectors(connection, database, encoder, None, previous)


def _vectors(
    connection: sqlite3.Connection,
    database: Database,
    encoder: str,
    view: View | None,
    previous: FactVectors | None,
) -> FactVectors:
    state = read_state(connection)
    number, layout = _known(connection, encoder)
    reader = Reader(connection, view, number, layout)
    if previous is not None and (
        (previous.encoder, previous.view) == (encoder, view)
        and comes_from(connection, previous.store_id, previous.sequence, previous.mark)
        and layout_of(previous.keys) == layout
    ):
        if previous.sequence == state.sequence and not previous.pending:
            return previous
    else:
        previous = None
    part, changes = _read(Files(database, encoder, state), reader, previous)
    part.keys.flags.writeable = part.values.flags.writeable = False
    return FactVectors(
        fact_ids=part.ids,
        keys=part.keys,
        values=part.values,
        encoder=encoder,
        view=view,
        sequence=state.sequence,
        fingerprint=state.fingerprint,
        pending=part.pending,
        rows=part.rows,
        store_id=state.store,
        mark=state.mark,
        changes=changes,
        part=part,
    )


def _known(connection: sqlite3.Connection, encoder: str) -> tuple[int, Layout]:
    """Return an encoder's number and how its vectors are kept, zeros if it is not known."""
    form = read_form(connection)
    query = "SELECT encoder, dimension FROM encoders WHERE name = ?"
    row = connection.execute(query, (encoder,)).fetchone()
    if row is None:
        return 0, Layout(form, 0)
    number, dimension = row
    if not isinstance(dimension, int) or not 0 < dimension <= _LONGEST:
        raise StoreCorruptError(
            f"The store's vectors are damaged: their length is said to be {dimension!r:.40}, "
            f"expected a number from 1 to {_LONGEST}. Build the store anew."
        )
    return number, Layout(form, dimension)


def _read(
    files: Files, reader: Reader, previous: FactVectors | None
) -> tuple[Part, RowChanges | None]:
    """Read vectors from wherever that costs least; tell what changed, if that is known."""
    if previous is not None:
        patched = reader.patched(previous.part, previous.sequence)
        if patched is not None:
            small = patched.copied and reader.view is None
            part = files.mapped(reader, patched.part, scratch=True) if small else patched.part
            return part, patched.changes
    return _read_anew(files, reader), None


def _read_anew(files: Files, reader: Reader) -> Part:
    whole = files.opened(reader)
    if reader.view is not None:
        return reader.part(reader.all_rows()) if whole is None else reader.of_view(whole.part)
    if whole is not None:
        return files.mapped(reader, whole.part) if whole.copied else whole.part
    return files.mapped(reader, reader.part(reader.all_rows()))
