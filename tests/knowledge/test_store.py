"""The store's verbs."""

from __future__ import annotations

import copy
import gc
import pickle
from pathlib import Path
from typing import Any

import pytest

from kblam.errors import ConfigError, FactError, StoreError
from kblam.knowledge import Fact, KnowledgeStore, ListSource, Triple

FACTS = [
    ("Acme", "founder", "Ann Lee"),
    ("Acme", "founded in", "1998"),
    ("Acme", "product", "anvils"),
    ("Acme", "product", "rockets"),
    ("Borealis", "founder", "Tomas Lindqvist"),
]


def contents(store: KnowledgeStore) -> list[tuple[str, str, str]]:
    return [(fact.entity, fact.property, fact.value) for fact in store]


def test_add_keeps_the_order_and_is_idempotent(store: KnowledgeStore) -> None:
    assert store.add(FACTS) == 5
    before = store.fingerprint
    assert store.add(FACTS) == 0
    assert store.fingerprint == before
    assert contents(store) == FACTS
    assert len(store) == store.count() == 5


@pytest.mark.parametrize(
    "given",
    [
        ("Acme", "founder", "Ann Lee"),
        Triple("Acme", "founder", "Ann Lee"),
        {"entity": "Acme", "property": "founder", "value": "Ann Lee"},
        [("Acme", "founder", "Ann Lee")],
        ListSource([("Acme", "founder", "Ann Lee")]),
    ],
)
def test_add_takes_one_triple_or_many(store: KnowledgeStore, given: Any) -> None:
    assert store.add(given) == 1
    assert contents(store) == FACTS[:1]


@pytest.mark.parametrize("path", ["facts.csv", Path("facts.csv"), b"facts.csv", "company.db"])
def test_a_path_is_to_be_opened_first(store: KnowledgeStore, tmp_path: Path, path: Any) -> None:
    for takes in (store.add, store.upsert, store.sync, KnowledgeStore.from_source):
        with pytest.raises(FactError, match=r"got .*(facts|company).*as_store\(path\)"):
            takes(path)
    file = tmp_path / "company.db"
    with pytest.raises(FactError):
        KnowledgeStore.from_source(path, file)
    assert not file.exists()


def test_add_takes_a_generator(store: KnowledgeStore) -> None:
    assert store.add(Triple(*fact) for fact in FACTS) == 5


def test_a_store_is_made_of_another(store: KnowledgeStore) -> None:
    store.add(Triple("Acme", "founder", "Ann Lee", id="7", metadata={"team": "red"}))
    with KnowledgeStore.from_source(store) as other:
        assert list(other) == list(store)
        assert other.fingerprint == store.fingerprint


def test_a_bad_fact_among_many_adds_none(store: KnowledgeStore) -> None:
    with pytest.raises(FactError, match="Item 5: The value of a fact must not be empty"):
        store.add([*FACTS, ("Acme", "motto", " ")])
    assert len(store) == 0
    assert store.sequence == 0


@pytest.mark.parametrize("given", ["Acme", 7, None, [("Acme", "founder")]])
def test_what_is_no_fact_is_refused(store: KnowledgeStore, given: Any) -> None:
    with pytest.raises(FactError, match="must be a Triple"):
        store.add(given)


def test_an_id_names_one_fact(store: KnowledgeStore) -> None:
    store.add(Triple("Acme", "founder", "Ann Lee", id="7"))
    assert store.add(Triple("Acme", "founder", "Ann Lee", id="7")) == 0
    with pytest.raises(FactError, match=r"id '7' is taken by .*Ann Lee"):
        store.add([("Acme", "product", "anvils"), Triple("Acme", "founder", "Bo", id="7")])
    assert len(store) == 1


def test_derived_ids_are_the_same_everywhere(store: KnowledgeStore) -> None:
    store.add(FACTS)
    with KnowledgeStore.from_source(reversed(FACTS)) as other:
        assert {fact.id for fact in store} == {fact.id for fact in other}


def test_a_derived_id_that_is_taken_is_avoided(store: KnowledgeStore) -> None:
    store.add(("Acme", "founder", "Ann Lee"))
    store.upsert(("Acme", "founder", "Bo Ek"))  # keeps the id derived from Ann Lee
    assert store.add(("Acme", "founder", "Ann Lee")) == 1
    assert len({fact.id for fact in store}) == 2


def test_upsert_replaces_every_value(store: KnowledgeStore) -> None:
    store.add(FACTS)
    assert store.upsert([("Acme", "product", "springs")]) == 2
    assert [fact.value for fact in store.search(entity="Acme", property="product")] == ["springs"]
    assert store.upsert([("Acme", "product", "springs")]) == 0


def test_upsert_keeps_the_id_and_the_place(store: KnowledgeStore) -> None:
    store.add(FACTS)
    (before,) = store.search(entity="Acme", property="founded in")
    assert store.upsert(("Acme", "founded in", "1999")) == 1
    assert store.get(before.id) == Fact("Acme", "founded in", "1999", before.id)
    assert contents(store)[1] == ("Acme", "founded in", "1999")


def test_upsert_of_several_values(store: KnowledgeStore) -> None:
    store.add(FACTS)
    assert store.upsert([("Acme", "product", v) for v in ("rockets", "springs", "magnets")]) == 2
    found = store.search(entity="Acme", property="product")
    assert {fact.value for fact in found} == {"rockets", "springs", "magnets"}


def test_upsert_loses_nothing_of_what_it_is_given(store: KnowledgeStore) -> None:
    store.add({"entity": "Aurora", "property": "colour", "value": "blue", "id": "c1"})
    named = {"entity": "Aurora", "property": "colour", "value": "blue", "id": "c1"}
    given = [("Aurora", "colour", "green"), named, ("Aurora", "colour", "red")]
    assert store.upsert(given) == 2
    assert {fact.value for fact in store} == {"blue", "green", "red"}
    assert store.get("c1").value == "blue"
    # One that is given under both stays one fact; what is not given at all goes.
    assert store.upsert([("Aurora", "colour", "grey"), {**named, "value": "grey"}]) >= 1
    assert [(fact.id, fact.value) for fact in store] == [("c1", "grey")]
    store.check()


@pytest.mark.parametrize("spelled", ["release date", "releaseDate", "RELEASE_DATE", "release_date"])
def test_upsert_knows_a_property_by_its_words(store: KnowledgeStore, spelled: str) -> None:
    store.add([("Ember", "release_date", "1 May"), ("Ember", "release_date", "2 May")])
    (first, second) = store
    assert store.upsert([("Ember", spelled, "2 May"), ("Ember", "release date", "3 May")]) >= 1
    assert {fact.id: fact.value for fact in store} == {first.id: "3 May", second.id: "2 May"}
    assert {change.op for change in store.journal(since=2)} == {"update"}
    store.upsert(("Ember", spelled, "4 May"))
    assert contents(store) == [("Ember", spelled, "4 May")]
    store.check()


def test_upsert_makes_one_fact_of_two_spellings(store: KnowledgeStore) -> None:
    spellings = ("release_date", "release date", "releaseDate")
    store.add([("Ember", spelling, "1 May") for spelling in spellings])
    ids = {fact.property: fact.id for fact in store}
    assert store.upsert(("Ember", "release date", "1 May")) == 2
    assert [(fact.id, fact.property) for fact in store] == [(ids["release date"], "release date")]
    assert store.upsert(("Ember", "releaseDate", "1 May")) == 1  # spelled as it is given
    assert [(fact.id, fact.property) for fact in store] == [(ids["release date"], "releaseDate")]
    store.check()


def test_upsert_leaves_other_vocabularies_alone(store: KnowledgeStore) -> None:
    names = ("http://xmlns.com/foaf/0.1/name", "http://schema.org/name", "foaf:name", "name")
    store.add([("http://a.org/Ann", name, "Ann") for name in names])
    store.add(("http://b.org/Ann", "name", "Ann"))
    for name in names:
        store.upsert(("http://a.org/Ann", name, "Ann Lee"))
        assert len(store) == 5
    assert [fact.value for fact in store] == ["Ann Lee"] * 4 + ["Ann"]


def test_upsert_adds_what_is_new(store: KnowledgeStore) -> None:
    assert store.upsert(FACTS) == 5
    assert contents(store) == FACTS


def test_upsert_by_id(store: KnowledgeStore) -> None:
    store.add([Triple("Acme", "founder", "Ann", id="7"), ("Acme", "founder", "Bo")])
    assert store.upsert(Triple("Acme Ltd", "owner", "Ann", id="7", metadata={"v": 2})) == 1
    assert store.get("7") == Fact("Acme Ltd", "owner", "Ann", "7", {"v": 2})
    assert len(store) == 2


def test_upsert_by_id_can_swap_two_facts(store: KnowledgeStore) -> None:
    store.add([Triple("Acme", "lead", "Ann", id="1"), Triple("Acme", "lead", "Bo", id="2")])
    assert (
        store.upsert([Triple("Acme", "lead", "Bo", id="1"), Triple("Acme", "lead", "Ann", id="2")])
        == 2
    )
    assert [(fact.id, fact.value) for fact in store] == [("1", "Bo"), ("2", "Ann")]


def test_upsert_by_id_names_what_is_there(store: KnowledgeStore) -> None:
    store.add([("Acme", "lead", "Ann"), Triple("Acme", "lead", "Bo", id="2")])
    store.upsert(Triple("Acme", "lead", "Ann", id="1", metadata={"v": 1}))
    assert [(fact.id, fact.value) for fact in store] == [("2", "Bo"), ("1", "Ann")]
    store.upsert(Triple("Acme", "lead", "Ann", id="2"))
    assert [(fact.id, fact.value) for fact in store] == [("2", "Ann")]


def test_upsert_replaces_metadata(store: KnowledgeStore) -> None:
    store.add(Triple("Acme", "lead", "Ann", metadata={"team": "red"}))
    assert store.upsert(Triple("Acme", "lead", "Ann", metadata={"team": "blue"})) == 1
    assert [fact.metadata for fact in store] == [{"team": "blue"}]
    assert store.add(Triple("Acme", "lead", "Ann", metadata={"team": "green"})) == 0
    assert [fact.metadata for fact in store] == [{"team": "blue"}]


def test_remove(store: KnowledgeStore) -> None:
    store.add(FACTS)
    (year,) = store.search(property="founded in")
    assert store.remove(id=year.id) == 1
    assert store.remove(id=year.id) == 0
    assert store.remove(entity="Acme", property="product") == 2
    assert store.remove(entity="Nobody") == 0
    assert store.remove(property="founder") == 2
    assert len(store) == 0


def test_remove_wants_to_know_what(store: KnowledgeStore) -> None:
    store.add(FACTS)
    with pytest.raises(FactError, match="Say what to remove"):
        store.remove()
    (first, *_) = store
    assert store.remove(id=first.id, entity="Borealis") == 0
    assert len(store) == 5


def test_get(store: KnowledgeStore) -> None:
    store.add(FACTS)
    ids = [fact.id for fact in store]
    assert store.get(ids[1]) == Fact(*FACTS[1], ids[1])
    assert store.get("none") is None
    assert [fact and fact.value for fact in store.get_many([ids[3], "none", ids[0]])] == [
        "rockets",
        None,
        "Ann Lee",
    ]


def test_search(store: KnowledgeStore) -> None:
    store.add([*FACTS, ("Élan", "founder", "ÉMILE Zédé")])
    assert [fact.value for fact in store.search("acme rockets")] == ["rockets"]
    assert [fact.entity for fact in store.search("émile")] == ["Élan"]
    assert [fact.entity for fact in store.search(property="founder")] == [
        "Acme",
        "Borealis",
        "Élan",
    ]
    assert store.search("100%") == store.search("a_me") == []
    assert len(store.search(limit=2)) == 2
    assert len(store.search()) == 6


def test_what_no_store_can_hold_is_not_found(store: KnowledgeStore) -> None:
    store.add(FACTS)
    half = "\ud800"
    assert store.get(half) is None
    assert store.get_many([half]) == [None]
    assert store.search(half) == store.search(f"acme {half}") == []
    assert store.search(entity=half) == store.search(property=half) == []
    assert store.remove(id=half) == store.remove(entity=half) == store.remove(property=half) == 0
    assert len(store) == len(FACTS)


def test_limits_may_be_as_large_as_one_likes(store: KnowledgeStore) -> None:
    store.add(FACTS)
    assert len(store.search(limit=2**70)) == len(FACTS)
    assert list(store.journal(2**70)) == []
    assert len(list(store.journal(-(2**70)))) == len(FACTS)
    with pytest.raises(ConfigError, match="whole number as limit, got 'x'"):
        store.search(limit="x")
    with pytest.raises(ConfigError, match="whole number as since, got None"):
        list(store.journal(None))


def test_the_loop_may_change_the_store(store: KnowledgeStore) -> None:
    store.add([(f"entity {i}", "number", str(i)) for i in range(2500)])
    for fact in store:
        if int(fact.value) % 100 == 0:
            store.remove(id=fact.id)
            store.add(("later", "number", f"-{fact.value}1"))
    assert len(store) == 2500
    assert len(store.search(entity="later", limit=100)) == 25


def test_facts_of_the_store_itself_can_be_added(store: KnowledgeStore) -> None:
    store.add(FACTS)
    assert store.add(Triple(f.value, "seen in", f.entity) for f in store) == 5


def test_journal_and_fingerprint(store: KnowledgeStore) -> None:
    seen = {store.fingerprint}
    store.add(FACTS[0])
    seen.add(store.fingerprint)
    (fact,) = store
    store.upsert(("Acme", "founder", "Bo"))
    seen.add(store.fingerprint)
    store.remove(id=fact.id)
    seen.add(store.fingerprint)
    store.add(FACTS[0])
    seen.add(store.fingerprint)
    assert len(seen) == 5
    assert [(c.seq, c.op, c.fact_id == fact.id) for c in store.journal()] == [
        (1, "add", True),
        (2, "update", True),
        (3, "remove", True),
        (4, "add", True),
    ]
    assert [change.seq for change in store.journal(since=2)] == [3, 4]
    assert store.sequence == 4


def test_a_long_journal_is_read_in_pages(store: KnowledgeStore) -> None:
    store.add([(f"entity {i}", "number", str(i)) for i in range(2001)])
    assert [change.seq for change in store.journal()] == list(range(1, 2002))


def test_a_file_is_kept_and_every_reader_agrees(tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    with KnowledgeStore.from_source(FACTS, path) as writer, KnowledgeStore(path) as reader:
        assert reader.path == path
        assert contents(reader) == FACTS
        writer.remove(entity="Acme")
        assert len(reader) == 1
        assert reader.fingerprint == writer.fingerprint
    with KnowledgeStore(path) as again:
        assert contents(again) == FACTS[4:]
        again.check()


def test_progress_is_shown_only_on_request(
    store: KnowledgeStore, capfd: pytest.CaptureFixture[str]
) -> None:
    store.add(FACTS)
    assert capfd.readouterr().err == ""
    store.add([("Cirrus", "founder", "Ida")], progress=True)
    assert "Adding" in capfd.readouterr().err


def test_a_closed_store_says_so(store: KnowledgeStore) -> None:
    store.close()
    store.close()
    assert "closed" in repr(store)
    with pytest.raises(StoreError, match="has been closed"):
        len(store)


def test_a_store_in_a_file_is_pickled_as_its_path(tmp_path: Path) -> None:
    with KnowledgeStore.from_source(FACTS, tmp_path / "facts.db") as store:
        assert copy.deepcopy({"kb": store})["kb"] is store
        with pickle.loads(pickle.dumps(store)) as again:
            assert contents(again) == FACTS
    with KnowledgeStore() as store:
        assert copy.deepcopy(store) is store
        with pytest.raises(StoreError, match="cannot be pickled"):
            pickle.dumps(store)


def test_a_store_nobody_closed_is_closed(tmp_path: Path) -> None:
    store = KnowledgeStore.from_source(FACTS, tmp_path / "facts.db")
    store.count()
    del store
    gc.collect()
    # SQLite takes its log away with the last connection.
    assert [path.name for path in tmp_path.iterdir()] == ["facts.db"]


def test_an_empty_store_is_no_missing_store(store: KnowledgeStore) -> None:
    assert store
    assert list(store) == []
    assert repr(store).endswith("0 facts)")
