"""A merge can be taken back, and nothing of it remains."""

from __future__ import annotations

import pytest
from many_spellings import make_world

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


def test_an_alias_said_in_a_fact_stays_said():
    facts = [
        ("Acme Inc.", "also known as", "ACME"),
        ("ACME", "founded", "1999"),
        ("Acme Inc.", "headquarters", "Lund"),
    ]
    resolution = resolve(facts)
    assert resolution.entities.merges
    assert ("Acme Inc.", "ACME") in {(t.entity, t.value) for t in resolution.triples}
