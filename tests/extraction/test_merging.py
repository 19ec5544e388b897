"""A merge can be taken back, and nothing of it remains."""

from __future__ import annotations

import json

import pytest
from many_spellings import make_world

from kblam.errors import StoreChangedError
from kblam.extraction import FactExtractor, merges_in, resolve, undo_merges
from kblam.extraction.merging import combine
from kblam.knowledge import KnowledgeStore, Triple, as_triple

FACTS = [
    Triple("ACME Corp.", "founder", "Ann Lee", metadata={"document": "a.md", "start": 0, "end": 9}),
    Triple("Acme Corporation", "founder", "Dr. Ann Lee", "own-id", {"document": "b.md"}),
    Triple("Acme Corporation", "headquarters", "Lund"),
    Triple("Dr. Ann Lee", "birthplace", "Oslo", metadata={"team": "red"}),
    Triple("Norlin GmbH", "headquarters", "Lund"),
    Triple("Norlin", "founded", "1999"),
]


def content(store):
    return {fact.id: fact.to_dict() for fact in store}


@pytest.fixture
def plain():
    return KnowledgeStore.from_source(FACTS)


@pytest.fixture
def merged():
    return KnowledgeStore.from_source(resolve(FACTS).triples)


def test_a_merged_fact_knows_what_it_was_and_where_it_is_stated(merged):
    (fact,) = merged.search(property="founder")
    assert [original["entity"] for original in fact.metadata["merged_from"]] == [
        "ACME Corp.",
        "Acme Corporation",
    ]
    assert fact.metadata["evidence"] == [
        {"document": "a.md", "start": 0, "end": 9},
        {"document": "b.md"},
    ]
    assert [(m.name, m.aliases) for m in merges_in(merged)] == [
        ("Acme Corporation", ("ACME Corp.",)),
        ("Dr. Ann Lee", ("Ann Lee",)),
        ("Norlin GmbH", ("Norlin",)),
    ]


def test_taking_back_every_merge_restores_each_fact_exactly(plain, merged):
    assert content(merged) != content(plain)
    assert undo_merges(merged) > 0
    assert content(merged) == content(plain)
    assert undo_merges(merged) == 0
    assert not merges_in(merged)


def test_one_merge_is_taken_back_and_the_others_stay(plain, merged):
    undo_merges(merged, ["Acme Corporation"])
    assert [m.name for m in merges_in(merged)] == ["Dr. Ann Lee", "Norlin GmbH"]
    founders = {(fact.entity, fact.value) for fact in merged.search(property="founder")}
    assert founders == {("ACME Corp.", "Dr. Ann Lee"), ("Acme Corporation", "Dr. Ann Lee")}
    undo_merges(merged, ["Norlin GmbH", "No such name"])
    undo_merges(merged, ["Dr. Ann Lee"])
    assert content(merged) == content(plain)


def test_round_trip_of_many_names():
    facts = [as_triple(fact) for fact in make_world(150, seed=3).facts]
    plain = KnowledgeStore.from_source(combine(facts))
    merged = KnowledgeStore.from_source(resolve(facts).triples)
    assert len(merges_in(merged)) > 10
    names = [merge.name for merge in merges_in(merged)]
    for name in names:  # one by one is the same as all at once
        undo_merges(merged, [name])
    assert content(merged) == content(plain)


def test_a_store_of_facts_that_are_there_is_resolved_twice_without_a_change(plain):
    assert plain.sync(resolve(plain.facts()).triples)
    assert not plain.sync(resolve(plain.facts()).triples)
    undo_merges(plain)
    assert {(f.entity, f.value) for f in plain} == {(t.entity, t.value) for t in FACTS}


def test_new_documents_are_merged_with_what_is_known(plain):
    extractor = FactExtractor(
        lambda prompt, schema: (
            '{"facts": [{"entity": "Acme", "property": "employees", "value": "240"}]}'
        )
    )
    extraction = extractor.extract("Acme has 240 employees.", known=plain.facts())
    plain.sync(extraction)
    (fact,) = plain.search(property="employees")
    assert fact.entity == "Acme Corporation"
    undo_merges(plain)
    assert [f.entity for f in plain.search(property="employees")] == ["Acme"]


@pytest.mark.parametrize("known", [[], FACTS])
def test_a_text_that_is_read_again_changes_nothing(known):
    text = "The founder of ACME Corp. is Ann Lee. The founder of Acme Corporation is Ann Lee. Lund."
    rows = [("ACME Corp.", "founder", "Ann Lee"), ("Acme Corporation", "founder", "Ann Lee")]
    rows += [("Acme Corporation", "headquarters", "Lund"), ("ACME Corp.", "employees", "Ann Lee")]
    answer = json.dumps(
        {"facts": [dict(zip(("entity", "property", "value"), row, strict=True)) for row in rows]}
    )
    extractor = FactExtractor(lambda prompt, schema: answer)
    store = KnowledgeStore.from_source(known)
    extractor.extract_into(store, text)
    before, sequence = content(store), store.sequence
    assert any(len(fact.metadata.get("merged_from", ())) > 1 for fact in store)
    extractor.extract_into(store, text)
    assert content(store) == before
    assert store.sequence == sequence


class Shared(KnowledgeStore):
    """A store that another connection writes to whenever its facts have been read."""

    def __init__(self, path, *writes):
        super().__init__(path)
        self.other = KnowledgeStore(path)
        self.writes = list(writes)

    def triples(self):
        yield from super().triples()
        if self.writes:
            self.writes.pop(0)(self.other)

    def close(self):
        self.other.close()
        super().close()


def adding(value):
    return lambda store: store.add(("Acme Corporation", "product", value))


def saying(*parts):
    answer = json.dumps({"facts": [dict(zip(("entity", "property", "value"), parts, strict=True))]})
    return FactExtractor(lambda prompt, schema: answer)


def test_what_others_write_while_names_are_compared_is_kept(tmp_path):
    path = tmp_path / "facts.db"
    KnowledgeStore.from_source(FACTS, path).close()
    writes = adding("anvils"), lambda store: store.remove(property="headquarters")
    with Shared(path, *writes) as store:
        extraction = saying("Acme", "employees", "240").extract_into(
            store, "Acme has 240 employees."
        )
        assert {(f.entity, f.property, f.value) for f in store} == {
            (f.entity, f.property, f.value) for f in extraction.facts
        }
        assert [fact.value for fact in store.search(property="product")] == ["anvils"]
        assert not store.search(property="headquarters")
        assert store.search(property="employees")[0].entity == "Acme Corporation"
        store.writes = [adding("rockets")]
        assert undo_merges(store)
        assert [fact.value for fact in store.search(property="product")] == ["anvils", "rockets"]


def test_a_store_that_others_write_to_all_the_time_stays_theirs(tmp_path):
    with Shared(tmp_path / "facts.db", *map(adding, "abcdefgh")) as store:
        with pytest.raises(StoreChangedError, match="as they left it"):
            saying("Acme", "lead", "Bo").extract_into(store, "The lead of Acme is Bo.")
        assert [fact.value for fact in store] == list("abcde")


def test_an_alias_said_in_a_fact_stays_said():
    facts = [
        ("Acme Inc.", "also known as", "ACME"),
        ("ACME", "founded", "1999"),
        ("Acme Inc.", "headquarters", "Lund"),
    ]
    resolution = resolve(facts)
    assert resolution.entities.merges
    assert ("Acme Inc.", "ACME") in {(t.entity, t.value) for t in resolution.triples}
