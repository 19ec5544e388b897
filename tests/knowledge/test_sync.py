"""A store that mirrors a source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kblam.errors import FactError, StoreError
from kblam.knowledge import JsonlSource, KnowledgeStore, ListSource, SyncReport, Triple


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
