"""Making a store say what its source says, no more and no less."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from kblam.errors import StoreChangedError, StoreError
from kblam.knowledge._ahead import embed_ahead, write_vectors
from kblam.knowledge._asking import (
    changes_of,
    expect_empty,
    expect_named,
    state_of,
    triples_of,
)
from kblam.knowledge._database import Database
from kblam.knowledge._difference import (
    Difference,
    SyncReport,
    apply,
    apply_changes,
    difference,
)
from kblam.knowledge._stage import Stage, Stopped, opened_stage
from kblam.knowledge._state import State, is_mirror, mark_as_mirror, may_mirror, read_state
from kblam.knowledge.protocols import JournaledSource, TextEmbedder, TripleSource
from kblam.knowledge.triple import Triple

__all__ = ["SyncReport", "Synchroniser", "Terms"]


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a store is synchronised.

    Attributes:
        allow_empty: Whether a source that gives nothing, and does not say so, empties the store.
        mirror: Whether the store becomes the mirror of the source. One that holds facts of its
            own must not.
        unchanged_since: The state that the store must still be in, None for any.
        stopped: Tells when to stop before anything is changed.
    """

    allow_empty: bool = False
    mirror: bool = False
    unchanged_since: State | None = None
    stopped: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class _Synced:
    """What a store held when it last held what a source says.

    Attributes:
        source: The source.
        state: The source's state then.
        store: The store's state then.
    """

    source: TripleSource
    state: Hashable
    store: State


class Synchroniser:
    """Synchronises one store, one source at a time.

    Args:
        database: The store.
        embedders: Those that the store's facts have vectors of, as far as is known.
    """

    def __init__(
        self, database: Database, embedders: Callable[[], Collection[TextEmbedder]]
    ) -> None:
        self._database = database
        self._embedders = embedders
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._synced: _Synced | None = None

    def expect_mirror(self) -> None:
        """Expect that following a source would remove nothing of the store's own.

        Raises:
            StoreError: It would.
        """
        with self._database.read() as connection:
            self._expect_mirror(connection)

    def sync(self, source: TripleSource, terms: Terms) -> SyncReport:
        """Do as little as is needed; see ``KnowledgeStore.sync``.

        Raises:
            Stopped: ``terms.stopped`` said so; the store is as it was.
            StoreChangedError: The store is in another state than it must be.
            StoreError: The store is to be a mirror, and holds facts of its own.
        """
        if os.getpid() != self._process:
            # What held the lock when this process was forked is not here to release it.
            self._lock, self._process = threading.Lock(), os.getpid()
        with self._lock:
            # Taken before reading: a change during the reading is found the next time.
            state = state_of(source)
            last = self._synced
            if last is not None and (last.source is not source or state is None):
                last = None
            if terms.unchanged_since is not None:
                # Made for the facts of that state: it is these that it is compared with.
                last = None
            if last is not None and last.state == state:
                with self._database.read() as connection:
                    if read_state(connection) == last.store and _is_marked(connection, terms):
                        return SyncReport()
            done = None if last is None else self._by_journal(source, last, terms)
            if done is None:
                done = self._by_difference(source, state, terms)
            report, self._synced = done
        return report

    def _by_journal(
        self, source: TripleSource, last: _Synced, terms: Terms
    ) -> tuple[SyncReport, _Synced] | None:
        """Do what a source's journal says; None where it does not say, or not for this store."""
        if not isinstance(source, JournaledSource):
            return None
        changes = changes_of(source, last.state)
        if changes is None:
            return None
        with opened_stage() as stage:
            embedded = self._embed(stage, lambda: changes.changed, last.store, terms)
            with self._writing(terms) as connection:
                if read_state(connection) != last.store:
                    return None  # something else wrote to the store
                report = apply_changes(connection, changes.changed, changes.removed)
                now = read_state(connection)
                write_vectors(connection, stage, last.store, now)
        return replace(report, embedded=embedded), _Synced(source, changes.state, now)

    def _by_difference(
        self, source: TripleSource, state: Hashable, terms: Terms
    ) -> tuple[SyncReport, _Synced]:
        with opened_stage() as stage:
            stage.fill(triples_of(source), terms.stopped)
            if isinstance(source, JournaledSource):
                expect_named(source, stage.count - stage.named)
            with self._database.read() as connection:
                found = difference(connection, stage)
                marked = _is_marked(connection, terms)
            self._expect_unchanged(found.state, terms)
            if not stage.count and found and not terms.allow_empty:
                expect_empty(source, len(found.remove))
            if not found and marked:
                return SyncReport(), _Synced(source, state, found.state)
            embedded = self._embed(
                stage, lambda: map(stage.triple, found.insert), found.state, terms
            )
            report, now = self._write(stage, found, terms)
        return replace(report, embedded=embedded), _Synced(source, state, now)

    def _embed(
        self,
        stage: Stage,
        new: Callable[[], Iterable[Triple]],
        before: State,
        terms: Terms,
    ) -> int:
        """Embed what a store is about to have, for each encoder that it knows."""
        if not before.digest:
            # Nobody reads an empty store: its facts come first, so that what is embedded of
            # them is kept whatever happens.
            return 0
        counts = [
            embed_ahead(self._database, stage, new(), embedder, terms.stopped)
            for embedder in self._embedders()
        ]
        return max(counts, default=0)

    def _write(self, stage: Stage, found: Difference, terms: Terms) -> tuple[SyncReport, State]:
        with self._writing(terms) as connection:
            before: State | None = found.state
            if (now := read_state(connection)) != before:
                self._expect_unchanged(now, terms)
                # Somebody else has written since.
                found, before = difference(connection, stage), None
            report = apply(connection, stage, found)
            now = read_state(connection)
            write_vectors(connection, stage, before, now)
        return report, now

    @contextmanager
    def _writing(self, terms: Terms) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside a write transaction, which a stop undoes.

        Raises:
            Stopped: ``terms.stopped`` said so.
            StoreError: The store is to be a mirror, and holds facts of its own.
        """
        with self._database.write() as connection:
            if terms.mirror:
                # Together with the facts: a store that was marked and never filled would take
                # what is added by hand for the source's.
                self._expect_mirror(connection)
                mark_as_mirror(connection)
            yield connection
            if terms.stopped():
                raise Stopped

    def _expect_unchanged(self, state: State, terms: Terms) -> None:
        if terms.unchanged_since not in (None, state):
            raise StoreChangedError(
                f"The knowledge store {self._database.name} is not in the state that "
                "unchanged_since says: somebody else wrote to it since, and it is as they left "
                "it. Read its facts again and make the change anew."
            )

    def _expect_mirror(self, connection: sqlite3.Connection) -> None:
        if not may_mirror(connection):
            raise StoreError(
                f"The knowledge store {self._database.name} holds facts of its own, which "
                "following a source would remove. Give the mirror a new path, or add the "
                "source's triples with add."
            )


def _is_marked(connection: sqlite3.Connection, terms: Terms) -> bool:
    """Tell whether the store is a mirror already, where it is to be one."""
    return is_mirror(connection) or not terms.mirror
