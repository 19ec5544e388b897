"""A store that says what its source says."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kblam.errors import (
    ConfigError,
    FactError,
    IncompleteSourceError,
    SourceError,
    StoreChangedError,
    StoreError,
)
from kblam.knowledge import (
    JournaledSource,
    JsonlSource,
    KnowledgeStore,
    ListSource,
    SourceChanges,
    SyncReport,
    Triple,
    VersionedSource,
)


class Graph:
    """A source that changes and can tell, and counts how often it is read."""

    def __init__(self, *triples: tuple[str, str, str]) -> None:
        self.held = list(triples)
        self.version = 0
        self.reads = 0

    def triples(self) -> Iterator[Triple]:
        self.reads += 1
        yield from (Triple(*triple) for triple in self.held)

    def count(self) -> int:
        return len(self.held)

    def state(self) -> int:
        return self.version


def test_sync_is_the_difference(store: KnowledgeStore) -> None:
    store.add([("Acme", "founder", "Ann"), ("Acme", "product", "anvils")])
    report = store.sync([("Acme", "product", "anvils"), ("Acme", "product", "rockets")])
    assert report == SyncReport(added=1, removed=1)
    assert [fact.value for fact in store] == ["anvils", "rockets"]
    assert [change.op for change in store.journal(since=2)] == ["remove", "add"]


def test_sync_without_a_difference_writes_nothing(store: KnowledgeStore) -> None:
    facts = [Triple("Acme", "founder", "Ann", metadata={"b": 1, "a": 2})] * 2
    store.add(facts)
    before = store.fingerprint
    assert not store.sync(ListSource(facts))
    assert store.fingerprint == before


def test_sync_updates_in_place(store: KnowledgeStore) -> None:
    old = [Triple("Acme", "founder", "Ann", id="1"), Triple("Acme", "lead", "Bo", id="2")]
    store.add([*old, ("Acme", "product", "anvils")])
    new = [Triple("Acme", "founder", "Bo", id="1"), Triple("Acme", "lead", "Bo", id="2")]
    tagged = Triple("Acme", "product", "anvils", metadata={"team": "red"})
    assert store.sync(ListSource([*new, tagged])) == SyncReport(changed=2)
    assert [(fact.id, fact.value) for fact in store][:2] == [("1", "Bo"), ("2", "Bo")]
    assert store.search("anvils")[0].metadata == {"team": "red"}


def test_sync_can_swap_what_ids_name(store: KnowledgeStore) -> None:
    store.add([Triple("Acme", "lead", "Ann", id="1"), Triple("Acme", "lead", "Bo", id="2")])
    swapped = [Triple("Acme", "lead", "Bo", id="1"), Triple("Acme", "lead", "Ann", id="2")]
    assert store.sync(ListSource(swapped)) == SyncReport(changed=2)
    assert [(fact.id, fact.value) for fact in store] == [("1", "Bo"), ("2", "Ann")]


def test_an_identifier_may_be_what_another_fact_would_be_called(store: KnowledgeStore) -> None:
    nameless = ("Acme", "founder", "Ann")
    with KnowledgeStore.from_source(nameless) as other:
        (derived,) = [fact.id for fact in other]
    named = Triple("Acme", "founder", "Bo", id=derived)
    for held in ([], [nameless], [named]):
        for facts in ([nameless, named], [named, nameless]):
            store.sync(ListSource(held), allow_empty=True)
            store.sync(ListSource(facts))
            assert {fact.value: fact.id == derived for fact in store} == {"Ann": False, "Bo": True}
            assert not store.sync(ListSource(facts))
    store.check()


def test_a_failing_sync_changes_nothing(store: KnowledgeStore) -> None:
    store.add(("Acme", "founder", "Ann"))
    twice = [Triple("Acme", "lead", "Bo", id="1"), Triple("Acme", "lead", "Cid", id="1")]
    for bad in (twice, [("Acme", "founder", "")]):
        with pytest.raises(FactError):
            store.sync(ListSource(bad))
        assert [fact.value for fact in store] == ["Ann"]
        assert store.sequence == 1


def test_a_mirror_is_refreshed_only_when_its_source_changed(store: KnowledgeStore) -> None:
    assert store.refresh() == SyncReport()
    graph = Graph(("Acme", "founder", "Ann"), ("Acme", "product", "anvils"))
    assert store.follow(graph) == SyncReport(added=2)
    assert store.source is graph
    assert not store.refresh()
    assert graph.reads == 1
    graph.held, graph.version = [("Acme", "founder", "Bo")], 1
    assert store.refresh() == SyncReport(added=1, removed=2)
    assert [fact.value for fact in store] == ["Bo"]
    assert not store.refresh()
    assert graph.reads == 2


def test_a_source_that_cannot_tell_is_compared(store: KnowledgeStore) -> None:
    graph = Graph(("Acme", "founder", "Ann"))

    class Plain:
        triples = staticmethod(graph.triples)
        count = staticmethod(graph.count)

    store.follow(Plain())
    graph.held.append(("Acme", "founder", "Bo"))
    assert store.refresh() == SyncReport(added=1)


def test_following_never_removes_facts_of_ones_own(store: KnowledgeStore) -> None:
    store.add(("Acme", "founder", "Ann"))
    with pytest.raises(StoreError, match="holds facts of its own"):
        store.follow(Graph(("Acme", "product", "anvils")))
    assert [fact.value for fact in store] == ["Ann"]
    assert store.source is None


def test_a_source_that_could_not_be_followed_leaves_no_mirror_behind(
    tmp_path: Path, store: KnowledgeStore
) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text('{"entity": "Acme", "property": "founder"}\n')
    with pytest.raises(FactError, match="value missing"):
        store.follow(JsonlSource(path))
    store.add(("Borealis", "lead", "Tomas"))
    path.write_text('{"entity": "Acme", "property": "founder", "value": "Ann"}\n')
    with pytest.raises(StoreError, match="holds facts of its own"):
        store.follow(JsonlSource(path))
    assert [fact.value for fact in store] == ["Tomas"]


def test_facts_that_are_added_while_a_source_is_first_read_are_kept(store: KnowledgeStore) -> None:
    class Slow(Graph):
        def triples(self) -> Iterator[Triple]:
            yield from super().triples()
            store.add(("Borealis", "lead", "Tomas"))

    with pytest.raises(StoreError, match="holds facts of its own"):
        store.follow(Slow(("Acme", "founder", "Ann")))
    assert [fact.value for fact in store] == ["Tomas"]
    assert store.source is None


def test_the_mirror_of_an_empty_source_is_one(store: KnowledgeStore) -> None:
    graph = Graph()
    assert not store.sync(graph)
    assert not store.follow(graph)
    store.unfollow()
    store.add(("Borealis", "lead", "Tomas"))
    assert store.follow(graph) == SyncReport(removed=1)


def test_a_mirror_in_a_file_is_followed_again(tmp_path: Path, embedder) -> None:
    path = tmp_path / "mirror.db"
    graph = Graph(("Acme", "founder", "Ann"), ("Acme", "product", "anvils"))
    with KnowledgeStore(path) as store:
        store.follow(graph)
        store.encode(embedder)
    embedder.seen.clear()
    graph.held[1] = ("Acme", "product", "rockets")
    with KnowledgeStore(path) as store:
        assert store.source is None
        assert store.follow(graph) == SyncReport(added=1, removed=1)
        store.encode(embedder)
    assert embedder.seen == ["the product of Acme", "rockets"]


def test_a_file_is_read_again_when_it_was_written(tmp_path: Path, store: KnowledgeStore) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text('{"entity": "Acme", "property": "founder", "value": "Ann"}\n')
    assert store.follow(JsonlSource(path)) == SyncReport(added=1)
    assert not store.refresh()
    path.write_text('{"entity": "Acme", "property": "founder", "value": "Bo Ek"}\n')
    assert store.refresh() == SyncReport(added=1, removed=1)


def test_what_is_no_source_yet_is_taken_too(store: KnowledgeStore) -> None:
    assert store.sync(("Acme", "founder", "Ann")) == SyncReport(added=1)
    assert store.sync({"entity": "Acme", "property": "founder", "value": "Bo"}).removed == 1
    assert store.sync(fact for fact in [("Acme", "founder", "Bo")]) == SyncReport()

    class Tuples:
        def triples(self) -> Iterator[tuple[str, str, str]]:
            yield ("Acme", "founder", "Cid")

        def count(self) -> int | None:
            return None

    assert store.sync(Tuples()) == SyncReport(added=1, removed=1)


def test_a_source_that_can_tell_is_read_once(store: KnowledgeStore) -> None:
    graph = Graph(("Acme", "founder", "Ann"))
    assert isinstance(graph, VersionedSource)
    store.sync(graph)
    assert store.sync(graph) == SyncReport()
    assert graph.reads == 1
    # What somebody else did to the store is noticed all the same.
    store.add(("Acme", "product", "anvils"))
    assert store.sync(graph) == SyncReport(removed=1)
    assert graph.reads == 2
    other = Graph(("Acme", "founder", "Bo"))
    assert store.sync(other) == SyncReport(added=1, removed=1)
    assert store.sync(graph) == SyncReport(added=1, removed=1)


def test_only_what_is_new_is_embedded_and_nobody_waits_for_it(store, embedder) -> None:
    facts = [("Acme", "founder", "Ann"), ("Acme", "product", "anvils")]
    assert store.sync(facts, encoder=embedder).embedded == 2
    assert store.vectors(embedder.name).pending == ()
    embedder.seen.clear()
    assert store.sync(facts, encoder=embedder) == SyncReport()
    assert embedder.seen == []
    # Known from now on; a text that a fact had before is not embedded again.
    report = store.sync([facts[0], ("Acme", "product", "rockets"), ("Acme", "lead", "Ann")])
    assert report == SyncReport(added=2, removed=1)
    assert report.embedded == 2
    assert embedder.seen == ["rockets", "the lead of Acme"]
    vectors = store.vectors(embedder.name)
    assert vectors.pending == ()
    assert len(vectors) == 3
    assert store.encode(embedder) == 0
    store.check()


def test_an_encoder_that_fails_leaves_the_store_as_it_was(store, embedder) -> None:
    store.sync([("Acme", "founder", "Ann")], encoder=embedder)
    before = store.fingerprint
    embedder.encode = lambda texts: [[float("nan")] * embedder.dimension] * len(texts)
    with pytest.raises(StoreError, match="NaN"):
        store.sync([("Acme", "founder", "Bo")])
    assert store.fingerprint == before


def test_what_others_wrote_since_a_state_is_not_removed(store: KnowledgeStore) -> None:
    store.add(("Acme", "founder", "Ann"))
    before = store.state()
    renamed = [("Acme Corp.", "founder", fact.value) for fact in store]
    store.add(("Acme", "product", "anvils"))
    for source in (renamed, list(store)):
        with pytest.raises(StoreChangedError, match="unchanged_since"):
            store.sync(source, unchanged_since=before)
    assert [fact.value for fact in store] == ["Ann", "anvils"]
    assert store.sync(renamed, unchanged_since=store.state()) == SyncReport(added=1, removed=2)
    with pytest.raises(ConfigError, match=r"store\.state"):
        store.sync(renamed, unchanged_since=store.fingerprint)


def test_what_is_written_while_a_source_is_embedded_is_not_removed(tmp_path, embedder) -> None:
    path = tmp_path / "facts.db"
    with KnowledgeStore(path) as store, KnowledgeStore(path) as other:
        store.sync([("Acme", "founder", "Ann")], encoder=embedder)
        encode = embedder.encode

        def encode_slowly(texts: list[str]) -> object:
            other.add(("Acme", "product", "anvils"))
            return encode(texts)

        embedder.encode = encode_slowly
        graph = Graph(("Acme", "founder", "Bo"))
        with pytest.raises(StoreChangedError):
            store.sync(graph, unchanged_since=store.state())
        assert [fact.value for fact in store] == ["Ann", "anvils"]


def test_a_source_that_was_cut_short_says_so_itself(store: KnowledgeStore) -> None:
    class Cut(Graph):
        def count(self) -> int:
            return 3  # about

        def triples(self) -> Iterator[Triple]:
            yield from super().triples()
            if len(self.held) < 2:
                raise IncompleteSourceError("Expected 2 facts, got 1.")

    source = Cut(("Acme", "founder", "Ann"), ("Acme", "product", "anvils"))
    assert store.follow(source) == SyncReport(added=2)
    del source.held[1]
    source.version = 1
    with pytest.raises(IncompleteSourceError):
        store.refresh()
    assert len(store) == 2


class Gone:
    """A source that was reachable once."""

    def triples(self) -> Iterator[Triple]:
        yield Triple("Acme", "founder", "Bo")
        raise TimeoutError("http://ann:hunter2@example.org/sparql did not answer in 30 s")

    def count(self) -> int | None:
        return None


def test_a_source_that_fails_leaves_the_store_as_it_was(store: KnowledgeStore) -> None:
    store.add(("Acme", "founder", "Ann"))
    for use in (store.sync, store.add, store.upsert):
        with pytest.raises(
            SourceError, match=r"Gone.*TimeoutError.*did not answer.*as it was"
        ) as e:
            use(Gone())
        assert "hunter2" not in str(e.value)
        assert [fact.value for fact in store] == ["Ann"]


def test_a_file_that_vanished_is_named(tmp_path: Path, store: KnowledgeStore) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text('{"entity": "Acme", "property": "founder", "value": "Ann"}\n')
    store.follow(JsonlSource(path))
    path.unlink()
    with pytest.raises(StoreError, match=r"facts\.jsonl"):
        store.refresh()
    assert len(store) == 1


def test_a_source_that_suddenly_gives_nothing_does_not_empty_a_store(tmp_path, store) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text('{"entity": "Acme", "property": "founder", "value": "Ann"}\n')
    source = JsonlSource(path)
    store.follow(source)
    path.write_text("")
    with pytest.raises(SourceError, match=r"gave none, while the store holds 1 .*allow_empty"):
        store.refresh()
    assert len(store) == 1
    assert store.sync(source, allow_empty=True) == SyncReport(removed=1)
    assert not store.refresh()


def test_a_source_that_says_it_is_empty_empties_a_store(store: KnowledgeStore) -> None:
    graph = Graph(("Acme", "founder", "Ann"))
    store.follow(graph)
    graph.held, graph.version = [], 1
    assert store.refresh() == SyncReport(removed=1)


def test_a_store_is_the_source_of_another(store: KnowledgeStore) -> None:
    with KnowledgeStore() as origin:
        assert isinstance(origin, JournaledSource)
        origin.add([Triple("Acme", "lead", "Ann", id="1"), Triple("Acme", "lead", "Bo", id="2")])
        origin.add(("Acme", "product", f"anvil {i}") for i in range(50))
        assert store.follow(origin) == SyncReport(added=52)
        assert store.refresh() == SyncReport()
        # Only the journal is read from now on.
        origin.triples = None
        origin.upsert([Triple("Acme", "lead", "Bo", id="1"), Triple("Acme", "lead", "Ann", id="2")])
        origin.remove(id=origin.search("anvil 7")[0].id)
        origin.add([Triple("Acme", "office", "Ghent", metadata={"team": "red"})])
        assert store.refresh() == SyncReport(added=1, removed=1, changed=2)
        assert {fact.id: fact for fact in store} == {fact.id: fact for fact in origin}
        origin.add(("Acme", "office", "Bruges"))
        origin.remove(property="office")
        assert store.refresh() == SyncReport(removed=1)
        store.check()


def test_a_mirror_keeps_up_with_whatever_is_done(store: KnowledgeStore, embedder) -> None:
    choose = random.Random(5)
    with KnowledgeStore() as origin:
        origin.add(("Acme", "part", str(i)) for i in range(20))
        store.follow(origin, encoder=embedder)
        read, origin.triples = origin.triples, None  # from now on, the journal is enough
        for _ in range(60):
            for _ in range(choose.randint(1, 4)):
                name = f"part {choose.randint(0, 5)}"
                triple = Triple("Acme", name, str(choose.randint(0, 9)), metadata={"n": 1})
                if choose.random() < 0.3:
                    origin.remove(property=name)
                elif choose.random() < 0.5:
                    origin.upsert([triple])
                elif choose.random() < 0.5:
                    origin.upsert([replace(triple, id=f"fact {choose.randint(0, 3)}")])
                else:
                    origin.add([triple])
            store.refresh()
            held = {fact.id: fact for fact in store}
            assert held == {fact.id: fact for fact in read()}
            assert store.vectors(embedder.name).pending == ()
        store.check()


def test_a_journal_is_not_enough_where_something_else_was_written(store: KnowledgeStore) -> None:
    with KnowledgeStore() as origin:
        origin.add([("Acme", "lead", "Ann"), ("Acme", "office", "Ghent")])
        store.follow(origin)
        store.remove(entity="Acme")
        assert store.refresh() == SyncReport(added=2)
        origin.add(("Acme", "office", "Bruges"))
        store.add(("Acme", "office", "Rome"))
        assert store.refresh() == SyncReport(added=1, removed=1)


class Journal:
    """A source that tells its changes in whatever form it was given them."""

    def __init__(self, *facts: object) -> None:
        self.facts = facts
        self.told: object = None
        self.version = 0

    def triples(self) -> Iterator[object]:
        yield from self.facts

    def count(self) -> int:
        return len(self.facts)

    def state(self) -> int:
        return self.version

    def tell(self, changed: list[object], removed: list[str]) -> None:
        self.version += 1
        self.told = SourceChanges(changed, removed, self.version)

    def changes(self, since: object) -> object:
        return self.told


LEAD = {"id": "1", "entity": "Acme", "property": "lead", "value": "Ann"}


def test_changes_are_told_in_any_form_of_a_fact(store: KnowledgeStore) -> None:
    journal = Journal(LEAD, Triple("Acme", "office", "Ghent", id="2"))
    store.follow(journal)
    journal.tell([LEAD | {"value": "Bo"}, Triple("Acme", "part", "anvil", id="3")], ["2"])
    assert store.refresh() == SyncReport(added=1, changed=1, removed=1)
    assert {fact.id: fact.value for fact in store} == {"1": "Bo", "3": "anvil"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ([("Acme", "lead", "Bo")], r"Journal.*identifier, got 1 without"),
        ([Triple("Acme", "lead", "Bo")], r"Journal.*identifier, got 1 without"),
        (["Acme"], "A fact must be a Triple"),
        (None, "Journal.*could not be read: TypeError"),
    ],
)
def test_changes_that_are_none_leave_the_store_as_it_was(
    store: KnowledgeStore, changed: list[object], message: str
) -> None:
    journal = Journal(LEAD)
    store.follow(journal)
    before = store.fingerprint
    journal.tell(changed, [])
    with pytest.raises((FactError, SourceError), match=message):
        store.refresh()
    assert store.fingerprint == before


def test_a_source_that_tells_its_changes_names_its_facts(store: KnowledgeStore) -> None:
    with pytest.raises(FactError, match=r"changes\(\).*got 1 without"):
        store.follow(Journal(LEAD, ("Acme", "office", "Ghent")))
    assert not len(store)


def test_a_store_tells_its_changes(store: KnowledgeStore) -> None:
    store.add([Triple("Acme", "lead", "Ann", id="1"), Triple("Acme", "lead", "Bo", id="2")])
    before = store.state()
    assert store.changes(before) == SourceChanges([], [], before)
    store.remove(id="1")
    store.upsert(Triple("Acme", "lead", "Cid", id="2"))
    changes = store.changes(before)
    assert changes is not None
    assert [fact.value for fact in changes.changed] == ["Cid"]
    assert changes.removed == ["1"]
    assert changes.state == store.state()
    with KnowledgeStore() as other:
        assert other.changes(before) is None
    store.add(("Acme", "part", str(i)) for i in range(3000))
    assert store.changes(before) is None  # everything is read as quickly


@pytest.mark.parametrize("more", [0, 3])
def test_a_store_restored_from_a_copy_tells_no_changes(tmp_path: Path, more: int) -> None:
    path, copy = tmp_path / "facts.db", tmp_path / "copy.db"
    with KnowledgeStore(path) as store:
        store.add(("Acme", "lead", "Ann"))
        shared = store.state()
    shutil.copy(path, copy)
    with KnowledgeStore(path) as store:
        store.add(("Acme", "lead", "Bo"))
        past = store.state()
    with KnowledgeStore(copy) as store:
        store.add(("Acme", "lead", "Bo"))
        store.add(("Acme", "part", str(i)) for i in range(more))
        assert store.changes(past) is None
        told = store.changes(shared)
        assert told is not None
        assert len(told.changed) == 1 + more


def test_a_store_is_read_as_it_is_at_one_moment(tmp_path: Path) -> None:
    with KnowledgeStore(tmp_path / "facts.db") as store:
        store.add(("Acme", "part", str(i)) for i in range(10))
        seen = []
        for fact in store.triples():
            seen.append(fact.value)
            store.remove(entity="Acme")
            store.add(("Acme", "other part", "x"))
        assert seen == [str(i) for i in range(10)]
