"""What every source of facts keeps to, whatever it reads.

A source's test file has a class of this kind, which says how to build its object from a world,
how to change it and how to look at it; the tests come with the class::

    class TestMyGraph(SourceContract):
        several_values = True

        def make(self, world: World, folder: Path) -> MyGraph: ...
        def add(self, kb: MyGraph, entity: str, key: str, value: Any) -> None: ...
        ...

Objects that can be gone (files, servers) take :class:`VanishingSourceContract`. What needs a
server sets it on ``self`` in a fixture with ``autouse=True``; expensive ones belong to a fixture
of module scope that this one asks for.
"""

from __future__ import annotations

import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from source_world import BIG, Relation, Words, World, big_world, in_words, small_world
from tiny_kblam import WordEncoder

from kblam.errors import SourceError
from kblam.knowledge import KnowledgeStore, SyncReport, TripleSource
from kblam_integrations.sources import as_store
from kblam_integrations.sources._stores import _source_of

Outcome = tuple[int, int, int]
ADDED: Outcome = (1, 0, 0)
REMOVED: Outcome = (0, 1, 0)
# A source with identifiers knows that it is the same fact; others take one away and add one.
CHANGED: tuple[Outcome, ...] = ((1, 1, 0), (0, 0, 1))


class SourceContract:
    """The tests; a subclass says how its kind of object is made and changed.

    Attributes:
        several_values: A property may have several values, and a relation several targets.
        edge_properties: Relations have properties of their own.
        empty_values: What may stand where there is no value, and must be no fact.
        exact_count: ``count()`` is right where it is no None; else it is about right.
        secrets: Texts that no error and no representation may show.
    """

    several_values = True
    edge_properties = False
    empty_values: tuple[Any, ...] = ()
    exact_count = True
    secrets: tuple[str, ...] = ()

    # What a subclass says.

    def make(self, world: World, folder: Path) -> Any:
        """Build the object that is handed to ``as_store``."""
        raise NotImplementedError

    def add(self, kb: Any, entity: str, key: str, value: Any) -> None:
        """Give an entity that is there one more value of a property."""
        raise NotImplementedError

    def remove(self, kb: Any, entity: str, key: str, value: Any) -> None:
        """Take one value of a property away."""
        raise NotImplementedError

    def relate(self, kb: Any, relation: Relation) -> None:
        """Add a relation (without properties) between entities that are there."""
        self.add(kb, relation.subject, relation.label, relation.target)

    def unrelate(self, kb: Any, relation: Relation) -> None:
        """Remove a relation."""
        self.remove(kb, relation.subject, relation.label, relation.target)

    def content(self, kb: Any) -> Any:
        """Return all that the object holds, by the object's own means, to be compared."""
        raise NotImplementedError

    def source(self, kb: Any) -> TripleSource:
        """Return the source that ``as_store`` reads the object with."""
        found = _source_of(kb)
        assert found is not None
        return found

    def refresh(self, store: KnowledgeStore, kb: Any) -> SyncReport:
        """Bring a store that follows the object up to date."""
        return store.refresh()

    def make_big(self, folder: Path) -> Any:
        """Build the object with :func:`big_world` in it, in bulk where that is quicker."""
        return self.make(big_world(), folder)

    # What follows is the same for all.

    def world(self) -> World:
        """Return the small world as far as the object can hold it."""
        world = small_world()
        if not self.several_values:
            world = world.single()
        return world if self.edge_properties else world.plain()

    @pytest.fixture
    def kb(self, tmp_path: Path) -> Any:
        return self.make(self.world(), tmp_path)

    def following(self, kb: Any) -> KnowledgeStore:
        store = KnowledgeStore()
        store.follow(self.source(kb))
        return store

    def test_it_gives_exactly_the_expected_facts(self, kb: Any) -> None:
        with as_store(kb) as store:
            assert said_by(store) == self.world().facts()

    def test_an_empty_object_gives_an_empty_store(self, tmp_path: Path) -> None:
        kb = self.make(World(), tmp_path)
        with as_store(kb) as store:
            assert said_by(store) == set()
        assert not self.source(kb).count()

    def test_empty_values_are_no_facts(self, tmp_path: Path) -> None:
        values = {f"motto {i}": [value] for i, value in enumerate(self.empty_values)}
        kb = self.make(World({"Aurora": {"budget": [1], **values}}), tmp_path)
        with as_store(kb) as store:
            assert said_by(store) == {("Aurora", "budget", "1")}

    def test_the_count_is_right_or_unknown(self, kb: Any) -> None:
        source = self.source(kb)
        count = source.count()
        if count is not None:
            number = len(list(source.triples()))
            assert count == number if self.exact_count else 0.5 < count / number < 2

    def test_two_readings_agree(self, kb: Any) -> None:
        source = self.source(kb)
        first, second = (Counter(map(str, source.triples())) for _ in range(2))
        assert first == second
        assert first == Counter(map(str, self.source(kb).triples()))

    def test_reading_changes_nothing(self, kb: Any) -> None:
        before = self.content(kb)
        with self.following(kb) as store:
            store.refresh()
        as_store(kb).close()
        assert self.content(kb) == before

    def test_a_second_sync_changes_and_embeds_nothing(self, kb: Any) -> None:
        encoder = WordEncoder()
        with self.following(kb) as store:
            assert store.encode(encoder) == len(store)
            seen, before = len(encoder.seen), store.fingerprint
            assert not self.refresh(store, kb)
            # Also where it cannot tell that nothing changed, and reads everything again.
            assert not store.sync(self.source(kb))
            assert store.encode(encoder) == 0
            assert (len(encoder.seen), store.fingerprint) == (seen, before)

    def test_changes_of_properties_are_reported_and_embedded(self, kb: Any) -> None:
        fact = ("Mirela Osei", "motto", 'Dare — don\'t "wait"')
        other = (*fact[:2], "Wait")
        encoder = WordEncoder()
        with self.following(kb) as store:
            before = said_by(store)
            self.add(kb, *fact)
            assert outcome(self.refresh(store, kb)) == ADDED
            assert said_by(store) == before | {fact}
            store.encode(encoder)
            seen = len(encoder.seen)
            self.remove(kb, *fact)
            self.add(kb, *other)
            assert outcome(self.refresh(store, kb)) in CHANGED
            assert said_by(store) == before | {other}
            store.encode(encoder)
            assert len(encoder.seen) - seen <= 2  # what it is asked by, what it says
            self.remove(kb, *other)
            assert outcome(self.refresh(store, kb)) == REMOVED
            assert said_by(store) == before
            assert not self.refresh(store, kb)

    def test_changes_of_relations_are_reported(self, kb: Any) -> None:
        relation = Relation("Aurora", "part of", "New\nLine, Ltd")
        fact = (relation.subject, relation.label, relation.target)
        with self.following(kb) as store:
            before = said_by(store)
            self.relate(kb, relation)
            assert outcome(self.refresh(store, kb)) == ADDED
            assert said_by(store) == before | {fact}
            self.unrelate(kb, relation)
            assert outcome(self.refresh(store, kb)) == REMOVED
            assert said_by(store) == before

    def test_a_big_object_is_read_completely(self, tmp_path: Path) -> None:
        kb = self.make_big(tmp_path)
        with as_store(kb) as store:
            assert len(store) == BIG
            assert said_by(store) == big_world().facts()

    def test_secrets_are_not_shown(self, kb: Any) -> None:
        source = self.source(kb)
        with self.following(kb) as store:
            self.assert_no_secrets(repr(source), str(source), repr(store), str(vars(store)))

    def assert_no_secrets(self, *texts: str) -> None:
        for secret in self.secrets:
            for text in texts:
                assert secret not in text


class VanishingSourceContract(SourceContract):
    """The contract of objects that may be gone: files, servers."""

    def vanish(self, kb: Any) -> None:
        """Take away what the object reads from: delete the file, stop the server."""
        raise NotImplementedError

    def test_a_vanished_source_leaves_the_store_as_it_was(self, kb: Any) -> None:
        source = self.source(kb)
        with self.following(kb) as store:
            before, fingerprint = said_by(store), store.fingerprint
            self.vanish(kb)
            for read in (store.refresh, lambda: store.sync(source)):
                with pytest.raises(SourceError) as info:
                    read()
                self.assert_no_secrets(*traceback.format_exception(info.value))
                assert len(str(info.value)) > 20
            assert (said_by(store), store.fingerprint) == (before, fingerprint)
        with pytest.raises(SourceError):
            as_store(kb)


def said_by(store: KnowledgeStore) -> set[Words]:
    """Return what a store says, in words."""
    return {in_words(fact) for fact in store}


def outcome(report: SyncReport) -> Outcome:
    """Return how many facts were added, removed and changed."""
    return (report.added, report.removed, report.changed)
