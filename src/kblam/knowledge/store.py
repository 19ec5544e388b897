"""The knowledge store: facts, their vectors, and a journal of changes in one SQLite file."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Union

from tqdm.auto import tqdm

from kblam.errors import FactError
from kblam.knowledge import _rows
from kblam.knowledge._database import Database
from kblam.knowledge._encode import encode_facts
from kblam.knowledge.protocols import TextEmbedder, TripleSource, VersionedSource
from kblam.knowledge.sources import ListSource, TripleLike
from kblam.knowledge.sync import SyncReport, sync
from kblam.knowledge.triple import Fact, Triple
from kblam.knowledge.vectors import FactVectors, read_vectors
from kblam.knowledge.view import VIEW_CLAUSE, Choice, View, view_parameters

__all__ = ["Change", "KnowledgeStore"]

Source = Union[TripleSource, Iterable[TripleLike]]

_PAGE = 1000
_SEARCH = f"""
SELECT {_rows.COLUMNS} FROM facts
WHERE (:entity IS NULL OR entity = :entity) AND (:property IS NULL OR property = :property)
  AND (:text IS NULL OR words_occur(entity, property, value, :text)) AND ({VIEW_CLAUSE})
ORDER BY row LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one fact.

    Attributes:
        seq: Its number in the journal; it only grows.
        op: What happened.
        fact_id: To which fact.
    """

    seq: int
    op: Literal["add", "update", "remove"]
    fact_id: str


class KnowledgeStore:
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
        self._database = Database(path)
        self._encoding = threading.Lock()
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

    @property
    def path(self) -> Path | None:
        """The store's file; None in memory."""
        return self._database.path

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

        A triple with an identifier replaces the fact of that name. Triples without one replace
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

    def get(self, id: str) -> Fact | None:
        """Return the fact with this identifier, None if there is none."""
        with self._database.read() as connection:
            return _rows.get(connection, id)

    def get_many(self, ids: Iterable[str]) -> list[Fact | None]:
        """Return the facts with these identifiers in this order, as of one state."""
        with self._database.read() as connection:
            return [_rows.get(connection, id) for id in ids]

    def facts(self, view: View | None = None) -> Iterator[Fact]:
        """Iterate over a view's facts in the order they were added.

        The store may be changed meanwhile, by the loop as well: a fact that changes while the
        iteration is under way may be seen in either form.
        """
        after = 0
        while True:
            with self._database.read() as connection:
                page = _rows.facts_page(connection, view, after, _PAGE)
            for _, *columns in page:
                yield _rows.new_fact(columns)
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    def __iter__(self) -> Iterator[Fact]:
        return self.facts()

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return True  # an empty store is a store all the same

    def count(self, view: View | None = None) -> int:
        """Return how many facts a view has."""
        with self._database.read() as connection:
            if view is None:
                row = connection.execute("SELECT count(*) FROM facts").fetchone()
            else:
                row = connection.execute(
                    f"SELECT count(*) FROM facts WHERE {VIEW_CLAUSE}", view_parameters(view)
                ).fetchone()
        count: int = row[0]
        return count

    def search(
        self,
        text: str | None = None,
        *,
        entity: str | None = None,
        property: str | None = None,
        limit: int = 20,
        view: View | None = None,
    ) -> list[Fact]:
        """Find facts by words or by exact parts, in the order they were added.

        Args:
            text: Words that must all occur in the fact, in whatever case.
            entity: The whole entity, as the store has it.
            property: The whole property, as the store has it.
            limit: At most so many.
            view: Search only these facts.
        """
        parameters = {
            **view_parameters(view),
            "text": text,
            "entity": entity,
            "property": property,
            "limit": limit,
        }
        with self._database.read() as connection:
            return [_rows.new_fact(row) for row in connection.execute(_SEARCH, parameters)]

    def view(
        self,
        *,
        entity: str | Iterable[str] | None = None,
        property: str | Iterable[str] | None = None,
        where: Mapping[str, Choice] | None = None,
        **metadata: Choice,
    ) -> View:
        """Make a view: a filter that a caller's questions are answered through.

        Args:
            entity: Only facts about this entity, or these.
            property: Only this property, or these.
            where: Metadata filters whose keys are no Python names (or are "entity").
            metadata: Metadata filters: the fact's metadata must have this value under this key,
                or one of these values. A list in the metadata must hold one of them.

        Raises:
            FactError: A filter is neither a JSON scalar nor a collection of scalars.
        """
        return View.build(entity=entity, property=property, metadata={**(where or {}), **metadata})

    @property
    def fingerprint(self) -> str:
        """A text that changes with every committed change, the same for every reader.

        It is read, not computed. Stores with the same facts and as many changes share it, so
        a cache keyed by it outlives a store that is built anew from the same triples.
        """
        with self._database.read() as connection:
            return _rows.read_state(connection).fingerprint

    @property
    def sequence(self) -> int:
        """The number of the last change, 0 before any."""
        with self._database.read() as connection:
            return _rows.read_state(connection).sequence

    def journal(self, since: int = 0) -> Iterator[Change]:
        """Iterate over the changes after number ``since``, oldest first."""
        while True:
            with self._database.read() as connection:
                page = connection.execute(
                    "SELECT seq, op, fact_id FROM journal WHERE seq > ? ORDER BY seq LIMIT ?",
                    (since, _PAGE),
                ).fetchall()
            for row in page:
                yield Change(*row)
            if len(page) < _PAGE:
                return
            since = page[-1][0]

    def encode(
        self, embedder: TextEmbedder, *, progress: bool = False, batch_size: int = 512
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

    def vectors(
        self, encoder: str, view: View | None = None, previous: FactVectors | None = None
    ) -> FactVectors:
        """Read the vectors of a view's facts.

        Args:
            encoder: The encoder's name.
            view: Only these facts.
            previous: What an earlier call returned. Only the facts that changed since are read
                from the file; if none did, it is returned itself.

        Raises:
            StoreCorruptError: A vector's length is not the encoder's.
        """
        return read_vectors(self._database, encoder, view, previous)

    def refresh(self) -> SyncReport:
        """Bring the store up to date with the object it was made from, if there is one.

        Where :attr:`source` can tell cheaply that nothing changed, nothing else is done.
        """
        if self.source is None:
            return SyncReport()
        state = self.source.state() if isinstance(self.source, VersionedSource) else None
        if state is not None and state == self._synced:
            return SyncReport()
        report = sync(self, self.source)
        self._synced = state
        return report

    def close(self) -> None:
        """Close the store; what is committed stays."""
        self._database.close()

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
