"""Which of a store's facts a view shows, as places among all of them.

The vectors of all facts are read once; a view takes 16 bytes for each fact that it shows.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kblam.knowledge._state import comes_from
from kblam.knowledge.vectors import FactVectors, vectors_of_all
from kblam.knowledge.view import VIEW_CLAUSE, View, view_parameters

if TYPE_CHECKING:
    from kblam.knowledge._database import Database

__all__ = ["ViewFacts", "fingerprint_of", "read_views"]

Int = npt.NDArray[np.int64]

# More changed facts than this: the views are read anew.
_FOLLOWED = 1000

_ROWS = f"SELECT row, digest FROM facts WHERE ({VIEW_CLAUSE}) ORDER BY row"
_CHANGED_ROWS = f"""
SELECT row, digest FROM facts
WHERE id IN (SELECT value FROM json_each(:ids)) AND ({VIEW_CLAUSE}) ORDER BY row
"""
_JOURNAL = "SELECT fact_id FROM journal WHERE seq > ?"


@dataclass(frozen=True, slots=True, eq=False)
class ViewFacts:
    """Which of a store's facts a view shows, at one moment.

    Attributes:
        places: Where these facts stand among all that have vectors, ascending (m).
        digests: Of these facts (m).
    """

    places: Int
    digests: Int

    def __len__(self) -> int:
        return len(self.places)

    @property
    def nbytes(self) -> int:
        """The memory that this takes."""
        return self.places.nbytes + self.digests.nbytes

    @property
    def fingerprint(self) -> str:
        """A text that changes with the facts shown; what is hidden has no part in it."""
        return fingerprint_of(self.digests)


def fingerprint_of(digests: Int) -> str:
    """A text that stands for facts, by their digests in any order."""
    return f"{int(np.bitwise_xor.reduce(digests)):016x}-{len(digests)}"


def read_views(
    database: Database,
    encoder: str,
    views: Iterable[View],
    previous: FactVectors | None,
    held: Mapping[View, ViewFacts],
) -> tuple[FactVectors, dict[View, ViewFacts]]:
    """Read all vectors and which of them views show, as of one state.

    Args:
        database: The store.
        encoder: The encoder's name.
        views: The views wanted.
        previous: The vectors of an earlier call.
        held: The views that call returned, to be brought up to date.

    Returns:
        The vectors of all facts; the views wanted, and those held that could be followed.
    """
    with database.read() as connection:
        vectors = vectors_of_all(connection, database, encoder, previous)
        found = _followed(connection, vectors, previous, held)
        for view in views:
            if view not in found:
                rows = connection.execute(_ROWS, view_parameters(view)).fetchall()
                found[view] = _placed(vectors, *_columns(rows))
    return vectors, found


def _followed(
    connection: sqlite3.Connection,
    vectors: FactVectors,
    previous: FactVectors | None,
    held: Mapping[View, ViewFacts],
) -> dict[View, ViewFacts]:
    """Bring views up to date at the cost of what changed; none of them if that is much."""
    if vectors is previous:
        return dict(held)
    if previous is None or not held:
        return {}
    if not comes_from(connection, previous.store_id, previous.sequence, previous.mark):
        return {}
    journal = connection.execute(_JOURNAL, (previous.sequence,))
    changed = {name for (name,) in islice(journal, _FOLLOWED + 1)}.union(previous.pending)
    if len(changed) > _FOLLOWED:
        return {}
    gone = previous.part.ids.positions(changed)
    names = json.dumps(list(changed))
    found = {}
    for view, facts in held.items():
        stays = np.isin(facts.places, gone, assume_unique=True, invert=True)
        parameters = {**view_parameters(view), "ids": names}
        rows, digests = _columns(connection.execute(_CHANGED_ROWS, parameters).fetchall())
        rows = np.concatenate([previous.rows[facts.places[stays]], rows])
        order = np.argsort(rows, kind="stable")
        digests = np.concatenate([facts.digests[stays], digests])
        found[view] = _placed(vectors, rows[order], digests[order])
    return found


def _columns(rows: list[tuple[int, int]]) -> tuple[Int, Int]:
    """Rows of facts and their digests as two arrays."""
    table = np.array(rows, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _placed(vectors: FactVectors, rows: Int, digests: Int) -> ViewFacts:
    """Find the facts of some rows, ascending, among those that have vectors."""
    places = np.searchsorted(vectors.rows, rows)
    present = places < len(vectors.rows)
    present[present] = vectors.rows[places[present]] == rows[present]
    return ViewFacts(places[present], np.ascontiguousarray(digests[present]))
