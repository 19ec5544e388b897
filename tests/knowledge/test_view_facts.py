"""Where the facts of views stand among all of a store's, kept up to date."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kblam.knowledge import KnowledgeStore, Triple, View, _view_facts

RED, BLUE = View.build(metadata={"team": "red"}), View.build(metadata={"team": "blue"})
ANN = View.build(entity="Ann")
NOBODY = View.build(entity="Nobody")
VIEWS = [RED, BLUE, ANN, NOBODY, RED & ANN, View()]


def check(store: KnowledgeStore, encoder: str, read: Any) -> None:
    """Places, and the vectors there, are those that reading the view alone gives."""
    vectors, shown = read
    assert vectors.fingerprint == store.fingerprint
    for view in VIEWS:
        facts, alone = shown[view], store.vectors(encoder, view)
        assert [vectors.fact_ids[place] for place in facts.places] == list(alone.fact_ids)
        np.testing.assert_array_equal(vectors.keys[facts.places], alone.keys)
        np.testing.assert_array_equal(vectors.values[facts.places], alone.values)
        assert len(facts) == store.count(view)
        assert facts.nbytes == 16 * len(facts)
        anew = store.vectors_and_views(encoder, [view])[1][view]
        assert anew.fingerprint == facts.fingerprint


names, teams = st.sampled_from(["Ann", "Bo", "Cid"]), st.sampled_from(["red", "blue", None])
facts = st.tuples(names, st.sampled_from(["phone", "office"]), st.sampled_from("1234"), teams)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("add"), facts),
        st.tuples(st.just("upsert"), facts),
        st.tuples(st.just("remove"), names),
        st.tuples(st.just("encode"), st.none()),
        st.tuples(st.just("read"), st.sets(st.sampled_from(VIEWS))),
    ),
    max_size=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(facts, max_size=6), changes)
def test_views_that_are_followed_are_those_read_anew(
    new_embedder: Callable[[], Any], first: list[Any], steps: list[Any]
) -> None:
    embedder = new_embedder()

    def triple(fact: Any) -> Triple:
        return Triple(*fact[:3], metadata={} if fact[3] is None else {"team": fact[3]})

    with KnowledgeStore() as store:
        store.add([triple(fact) for fact in first])
        store.encode(embedder)
        held = store.vectors_and_views(embedder.name, VIEWS)
        for kind, what in steps:
            if kind == "add":
                store.add(triple(what))
            elif kind == "upsert":
                store.upsert(triple(what))
            elif kind == "remove":
                store.remove(entity=what)
            elif kind == "encode":
                store.encode(embedder)
            else:
                held = store.vectors_and_views(embedder.name, what, *held)
        store.encode(embedder)
        check(store, embedder.name, store.vectors_and_views(embedder.name, VIEWS, *held))


def test_following_reads_no_view_anew(
    store: KnowledgeStore, embedder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(Triple("Ann", f"p{i}", "v", metadata={"team": "red"}) for i in range(50))
    store.encode(embedder)
    held = store.vectors_and_views(embedder.name, VIEWS)
    monkeypatch.setattr(_view_facts, "_ROWS", "SELECT no, such, column FROM facts")
    again = store.vectors_and_views(embedder.name, VIEWS, *held)
    assert again[0] is held[0]
    assert again[1] == held[1]
    store.upsert([Triple("Ann", "p7", "v", metadata={"team": "blue"})])
    store.remove(entity="Ann", property="p0")
    store.encode(embedder)
    held = store.vectors_and_views(embedder.name, VIEWS, *held)
    assert (len(held[1][RED]), len(held[1][BLUE]), len(held[1][ANN])) == (48, 1, 49)
    monkeypatch.undo()
    check(store, embedder.name, held)
    # Very many changes, and another store, are read anew.
    store.add(Triple("Bo", f"p{i}", "v", metadata={"team": "blue"}) for i in range(2000))
    store.encode(embedder)
    check(store, embedder.name, store.vectors_and_views(embedder.name, VIEWS, *held))
    with KnowledgeStore.from_source([("Ann", "phone", "1")]) as other:
        other.encode(embedder)
        check(other, embedder.name, other.vectors_and_views(embedder.name, VIEWS, *held))


def test_what_is_hidden_has_no_part_in_a_fingerprint(embedder: Any) -> None:
    shown = [Triple("Ann", "phone", str(i), metadata={"team": "red"}) for i in range(4)]
    prints = set()
    for hidden in (0, 1, 7):
        with KnowledgeStore() as store:
            store.add(Triple("Bo", "salary", f"{hidden}{i}") for i in range(hidden))
            store.add(shown)
            store.upsert(Triple("Bo", "salary", "more"))
            store.encode(embedder)
            _, views = store.vectors_and_views(embedder.name, [RED, BLUE])
            prints.add((views[RED].fingerprint, views[BLUE].fingerprint))
    assert len(prints) == 1
    with KnowledgeStore.from_source(shown[1:]) as store:
        store.encode(embedder)
        _, views = store.vectors_and_views(embedder.name, [RED])
        assert views[RED].fingerprint != prints.pop()[0]


def test_a_fingerprint_is_known_without_vectors(embedder: Any) -> None:
    with KnowledgeStore() as store:
        assert store.fingerprint_of(None) == store.fingerprint
        empty = store.fingerprint_of(RED)
        store.add([Triple("Ann", "phone", "1", metadata={"team": "red"})])
        first = store.fingerprint_of(RED)
        store.add([Triple("Bo", "phone", "2", metadata={"team": "blue"})])
        assert store.fingerprint_of(RED) == first
        assert len({empty, first, store.fingerprint_of(BLUE), store.fingerprint}) == 4
        store.encode(embedder)
        _, views = store.vectors_and_views(embedder.name, [RED, BLUE])
        for view, facts in views.items():
            assert store.fingerprint_of(view) == facts.fingerprint
            assert store.count(view) == len(facts) == 1
        store.remove(entity="Ann")
        assert store.fingerprint_of(RED) == empty
