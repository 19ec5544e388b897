"""How many facts views show, and what stands for them, counted once for each state of a store."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from threading import Lock

import numpy as np

from kblam.knowledge._database import Database
from kblam.knowledge._state import State, read_state
from kblam.knowledge._view_facts import fingerprint_of
from kblam.knowledge.view import VIEW_CLAUSE, View, view_parameters

__all__ = ["ViewSummaries", "ViewSummary"]

_HELD = 1000
_DIGESTS = f"SELECT digest FROM facts WHERE ({VIEW_CLAUSE})"


@dataclass(frozen=True, slots=True)
class ViewSummary:
    """What can be said of the facts that a view shows without reading them.

    Attributes:
        count: How many they are.
        fingerprint: That of their :class:`~kblam.knowledge._view_facts.ViewFacts`.
    """

    count: int
    fingerprint: str


class ViewSummaries:
    """The summaries of a store's views. For any number of threads.

    Args:
        database: The store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        # With the store's state at that moment; the oldest first.
        self._held: dict[View, tuple[State, ViewSummary]] = {}
        self._holding = Lock()

    def of(self, view: View) -> ViewSummary:
        """A view's, of the state committed last. Filters every fact if the store has changed."""
        with self._database.read() as connection:
            now = read_state(connection)
            state, summary = self._held.get(view, (None, None))
            if summary is not None and state == now:
                return summary
            summary = _summarise(connection, view)
        with self._holding:
            self._held.pop(view, None)
            self._held[view] = now, summary
            if len(self._held) > _HELD:
                del self._held[next(iter(self._held))]
        return summary


def _summarise(connection: sqlite3.Connection, view: View) -> ViewSummary:
    rows = connection.execute(_DIGESTS, view_parameters(view))
    digests = np.fromiter((digest for (digest,) in rows), np.int64)
    return ViewSummary(len(digests), fingerprint_of(digests))
