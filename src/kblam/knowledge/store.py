"""The knowledge store: facts, their vectors, and a journal of changes in one SQLite file."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm.auto import tqdm

from kblam.errors import FactError, StoreError
from kblam.knowledge import _rows
from kblam.knowledge._database import Database
from kblam.knowledge._encode import encode_facts
from kblam.knowledge._reader import StoreReader
from kblam.knowledge.protocols import TextEmbedder, TripleSource, VersionedSource
from kblam.knowledge.sources import ListSource, TripleLike
from kblam.knowledge.sync import SyncReport, sync
from kblam.knowledge.triple import Triple

__all__ = ["KnowledgeStore"]

Source = TripleSource | Iterable[TripleLike]


class KnowledgeStore(StoreReader):
    """Facts with half-precision vectors in one SQLite file.

    A store may be used by many threads, and its file by many processes: readers never wait and
    see what was committed last, writers take turns. Every method that writes is one
    transaction: it happens wholly or not at all, also when the process is killed.

    Args:
        path: A file, created if it does not exist; ``":memory:"`` keeps everything in this
            process.

    Raises:
        StoreCorruptError: The file is not a knowledge store, or it is damaged.
        StoreError: The file cannot be opened, or a newer version of kblam wrote it.
    """

    def __init__(self, path: str | Path = ":memory:") -> None:
        super().__init__(Database(path))
        self._encoding = threading.Lock()
        self._refreshing = threading.Lock()
        self._synced: Hashable = None
        self.source: TripleSource | None = None

    @classmethod
    def from_source(
        cls, source: Source, path: str | Path = ":memory:", *, progress: bool = False
    ) -> KnowledgeStore:
        """Open a store and add every triple of a source to it.

        Args:
            source: A triple source, or triples in any form that :meth:`add` takes.
            path: As for the class.
            progress: Show a progress bar.

        Raises:
            FactError: The source holds something that is no fact; the store is then unchanged.
        """
        store = cls(path)
        try:
            store.add(source, progress=progress)
        except BaseException:
            store.close()
            raise
        return store

    def add(self, triples: Source | TripleLike, *, progress: bool = False) -> int:
        """Add facts. What the store says already is left as it is.

        Args:
            triples: A triple source; triples, tuples (entity, property, value) or mappings with
                these keys; or a single one of them.
            progress: Show a progress bar.

        Returns:
            How many facts were added.

        Raises:
            FactError: An item is no fact, or its identifier is taken by another fact. None of
                the triples is then added.
        """
        source = _as_source(triples)
        total = source.count() if progress else None
        bar = tqdm(
            source.triples(), total=total, desc="Adding", unit=" facts", disable=not progress
        )
        with self._database.write() as connection:
            return _rows.add(connection, bar)

    def upsert(self, triples: Source | TripleLike) -> int:
        """Add facts or replace those that they bring up to date.

        A triple with an identifier replaces the fact of that name, and takes the place of a
        fact that says the same under another name. Triples without an identifier replace
        every value of their property of their entity: two such triples with the same entity and
        property are its two values. A fact is replaced as a whole, metadata included; it keeps
        its identifier.

        Args:
            triples: As for :meth:`add`.

        Returns:
            How many facts were added, changed or removed; what is the same is not counted.

        Raises:
            FactError: An item is no fact. The store is then unchanged.
        """
        with self._database.write() as connection:
            return _rows.upsert(connection, _as_source(triples).triples())

    def remove(
        self, *, id: str | None = None, entity: str | None = None, property: str | None = None
    ) -> int:
        """Remove the facts for which all that is given holds.

        Returns:
            How many were removed.

        Raises:
            FactError: Nothing was given (this would remove every fact).
        """
        if id is None and entity is None and property is None:
            raise FactError("Say what to remove: an id, an entity, a property, or several.")
        with self._database.write() as connection:
            return _rows.remove(connection, id, entity, property)

    def encode(
        self, embedder: TextEmbedder, *, progress: bool = False, batch_size: int = 2048
    ) -> int:
        """Embed the facts that have no vectors of this encoder yet.

        No lock is held while texts are embedded, and every batch is written as soon as it is
        done: what was embedded before an interruption is not embedded again. Equal texts are
        embedded once.

        Args:
            embedder: Embeds the texts; the vectors are kept under its name.
            progress: Show a progress bar.
            batch_size: How many facts are embedded and written together.

        Returns:
            How many facts lacked vectors.

        Raises:
            StoreError: The encoder's vectors have the wrong shape, or are not finite.
        """
        with self._encoding:
            return encode_facts(self._database, embedder, progress=progress, batch_size=batch_size)

    def follow(self, source: TripleSource) -> SyncReport:
        """Make the store a mirror of a source, for :meth:`refresh` to bring up to date.

        What else is written to such a store is lost at the next refresh. A mirror in a file
        stays one: follow the source again when it is opened, and the vectors of all facts that
        did not change meanwhile are there.

        Args:
            source: What the store is to hold, no more and no less.

        Raises:
            FactError: The source holds something that is no fact. The store is unchanged.
            StoreError: The store holds facts of its own, which would be removed.
        """
        with self._database.write() as connection:
            if not _rows.mark_as_mirror(connection):
                raise StoreError(
                    f"The knowledge store {self._database.name} holds facts of its own, which "
                    "following a source would remove. Give the mirror a new path, or add the "
                    "source's triples with add."
                )
        self.source, self._synced = source, None
        return self.refresh()

    def refresh(self) -> SyncReport:
        """Bring the store up to date with the source that it follows, if there is one.

        Where the source can tell that nothing changed (:class:`VersionedSource`), this costs
        no more than asking it; else the source is read and compared.
        """
        if self.source is None:
            return SyncReport()
        with self._refreshing:
            # Taken before reading: a change during the reading is found the next time.
            state = self.source.state() if isinstance(self.source, VersionedSource) else None
            if state is not None and state == self._synced:
                return SyncReport()
            report = sync(self, self.source)
            self._synced = state
        return report

    def close(self) -> None:
        """Close the store; what is committed stays."""
        self._database.close()

    def __deepcopy__(self, memo: object) -> KnowledgeStore:
        # A handle on shared facts: frameworks that copy their settings must not copy these.
        return self

    def __reduce__(self) -> tuple[type[KnowledgeStore], tuple[str]]:
        if self.path is None:
            raise StoreError(
                "A knowledge store in memory cannot be pickled. Keep it in a file: the copy then "
                "opens the same file."
            )
        return KnowledgeStore, (str(self.path),)

    def __enter__(self) -> KnowledgeStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._database.closed:
            return f"KnowledgeStore({self._database.name!r}, closed)"
        return f"KnowledgeStore({self._database.name!r}, {len(self)} facts)"


def _as_source(triples: Any) -> TripleSource:
    if isinstance(triples, TripleSource):
        return triples
    single = isinstance(triples, (Triple, Mapping, str, bytes)) or _is_plain_triple(triples)
    if isinstance(triples, Iterable) and not single:
        # Copied: what is read while the store is written must not depend on the store.
        return ListSource(triples)
    return ListSource([triples])  # which also says what a fact must be


def _is_plain_triple(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 3 and all(isinstance(p, str) for p in item)
