"""The reading side of a knowledge store."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from kblam import _html
from kblam.errors import FactError
from kblam.knowledge import _rows
from kblam.knowledge._change import Change
from kblam.knowledge._check import check_store
from kblam.knowledge._database import Database
from kblam.knowledge._parameters import may_be_stored, whole_number
from kblam.knowledge._preview import preview
from kblam.knowledge._snapshot import Snapshot, snapshot_of
from kblam.knowledge._state import State, comes_from, read_state
from kblam.knowledge._view_facts import ViewFacts, read_views
from kblam.knowledge._view_summary import ViewSummaries
from kblam.knowledge.protocols import SourceChanges
from kblam.knowledge.report import StoreReport, report
from kblam.knowledge.triple import Fact
from kblam.knowledge.vectors import FactVectors, read_vectors
from kblam.knowledge.view import VIEW_CLAUSE, Choice, View, view_parameters

__all__ = ["StoreReader"]

_PAGE = 1000
_SEARCH = f"""
SELECT {_rows.COLUMNS} FROM facts
WHERE (:entity IS NULL OR entity = :entity) AND (:property IS NULL OR property = :property)
  AND (:text IS NULL OR words_occur(entity, property, value, :text)) AND ({VIEW_CLAUSE})
ORDER BY row LIMIT :limit
"""
_ALL = f"SELECT {_rows.COLUMNS} FROM facts ORDER BY row"
_CHANGED_IDS = "SELECT DISTINCT fact_id FROM journal WHERE seq > ? LIMIT ?"
# Above this share of changed facts, a mirror reads everything as quickly.
_MANY = 1 / 4


class StoreReader:
    """What can be asked of a store. Each method sees one state, the one committed last.

    Args:
        database: Where the facts are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._summaries = ViewSummaries(database)

    @property
    def path(self) -> Path | None:
        """The store's file; None in memory."""
        return self._database.path

    def get(self, id: str) -> Fact | None:
        """Return the fact with this identifier, None if there is none."""
        with self._database.read() as connection:
            return _rows.get(connection, id)

    def get_many(self, ids: Iterable[str]) -> list[Fact | None]:
        """Return the facts with these identifiers in this order, as of one state."""
        with self._database.read() as connection:
            return [_rows.get(connection, name) for name in ids]

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Return a context manager that gives the facts as they are now, whatever is written.

        Until it is left, a file cannot shrink by what is written to it meanwhile.
        """
        return snapshot_of(self._database)

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
        if view is not None:
            return self._summaries.of(view).count
        with self._database.read() as connection:
            count: int = connection.execute("SELECT count(*) FROM facts").fetchone()[0]
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

        Raises:
            ConfigError: ``limit`` is no whole number.
        """
        if not may_be_stored(text, entity, property):
            return []
        parameters = {
            **view_parameters(view),
            "text": text,
            "entity": entity,
            "property": property,
            "limit": whole_number("limit", limit),
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
        filters: object = {} if where is None else where
        if not isinstance(filters, Mapping):
            raise FactError(f"where= must be a mapping of metadata filters, got {where!r:.100}.")
        return View.build(entity=entity, property=property, metadata={**filters, **metadata})

    @property
    def fingerprint(self) -> str:
        """A text that changes with every committed change, the same for every reader.

        It is read, not computed. Stores with the same facts and as many changes share it, so
        a cache keyed by it outlives a store that is built anew from the same triples.
        """
        with self._database.read() as connection:
            return read_state(connection).fingerprint

    def fingerprint_of(self, view: View | None) -> str:
        """The fingerprint of what a view shows; of the store if it is None.

        It changes whenever these facts do. What the view hides has no part in it, so that it may
        be told to whoever has the view.
        """
        return self.fingerprint if view is None else self._summaries.of(view).fingerprint

    @property
    def sequence(self) -> int:
        """The number of the last change, 0 before any."""
        with self._database.read() as connection:
            return read_state(connection).sequence

    def journal(self, since: int = 0) -> Iterator[Change]:
        """Iterate over the changes after number ``since``, oldest first.

        Raises:
            ConfigError: ``since`` is no whole number.
        """
        since = whole_number("since", since)
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

    # What a store is as the source of another: see ``TripleSource`` and its kin.

    def triples(self) -> Iterator[Fact]:
        """Iterate over all facts as they are now, whatever is written meanwhile."""
        with self._database.read() as connection:
            found = connection.execute(_ALL)
            if not self._database.in_memory:
                yield from map(_rows.new_fact, found)
                return
            rows = found.fetchall()  # the one connection is for all threads
        yield from map(_rows.new_fact, rows)

    def state(self) -> Hashable:
        """Return which store this is, and which of its states."""
        with self._database.read() as connection:
            return read_state(connection)

    def changes(self, since: Hashable) -> SourceChanges | None:
        """Return what changed after a state, None where that is a large part of the store.

        Args:
            since: What :meth:`state` returned, of this store.
        """
        with self._database.read() as connection:
            if not isinstance(since, State):
                return None
            if not comes_from(connection, since.store, since.sequence, since.mark):
                return None  # another store, or one that was restored from a copy
            now = read_state(connection)
            total = connection.execute("SELECT count(*) FROM facts").fetchone()[0]
            most = max(_PAGE, int(_MANY * total))
            names = connection.execute(_CHANGED_IDS, (since.sequence, most + 1)).fetchall()
            if len(names) > most:
                return None
            found = {name: _rows.get(connection, name) for (name,) in names}
        return SourceChanges(
            changed=[fact for fact in found.values() if fact is not None],
            removed=[name for name, fact in found.items() if fact is None],
            state=now,
        )

    def check(self) -> None:
        """Look at every page and every row of the store, which takes a while.

        So it does at the vectors in the file beside the store.

        Raises:
            StoreCorruptError: Something is not as it was written. If only vectors beside the store
                are damaged, it says which file to delete: the store is whole.
        """
        with self._database.read() as connection:
            check_store(connection, self._database.name, self._database.path)

    def report(self, view: View | None = None) -> StoreReport:
        """Say what is in the store, what stands in it twice, and what is hard to read.

        Looks at every fact: about a second for 100,000.
        """
        return report(self.facts(view))

    def _repr_html_(self) -> str:
        """For notebooks: how many facts, and the first of them."""
        if self._database.closed:
            return _html.note(repr(self))
        return preview(self.facts(), len(self), str(self.path or "memory"))

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

    def vectors_and_views(
        self,
        encoder: str,
        views: Iterable[View],
        previous: FactVectors | None = None,
        held: Mapping[View, ViewFacts] | None = None,
    ) -> tuple[FactVectors, dict[View, ViewFacts]]:
        """Read the vectors of all facts, and where the facts of views stand among them.

        As of one state, and by what changed where an earlier call's ``previous`` and ``held``
        are given. Beside the views wanted, what was held and could be followed is returned.
        """
        return read_views(self._database, encoder, views, previous, held or {})
