"""What an index promises, whatever happens to the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kblam.errors import ConfigError
from kblam.index import FactIndex
from kblam.knowledge import FactVectors, KnowledgeStore, unpacked

PROFILE = settings.get_profile("index")
# Added, replaced or removed: which fact of those there are, as a share of them.
CHANGES = st.lists(st.tuples(st.sampled_from("arm"), st.floats(0, 0.999)), max_size=12)


def change(store: KnowledgeStore, changes: list[tuple[str, float]], mark: str) -> None:
    for turn, (kind, share) in enumerate(changes):
        facts = list(store)
        fact = facts[int(share * len(facts))]
        if kind == "a":
            store.add((f"new {mark} {turn}", "code", "x"))
        elif kind == "r":
            store.upsert(type(fact)(f"other {mark} {turn}", "code", fact.value, fact.id))
        elif len(facts) > 1:
            store.remove(id=fact.id)


def follow(index: FactIndex, store: KnowledgeStore, vectors: FactVectors) -> FactIndex:
    found = index.updated(vectors, {c.fact_id for c in store.journal(index.sequence)})
    assert found is not None
    return found


def check(index: FactIndex, vectors: FactVectors) -> None:
    """All positions are found if all codes are, and every fact by its own key if few are."""
    assert index.is_of(vectors)
    assert len(index) == len(vectors)
    keys = unpacked(vectors.keys)
    everything = np.arange(len(vectors))
    # One less than all codes: no short cut is taken, and at most one fact is missing.
    nearly = len(index._codes) - 1
    for found in index.candidates(keys[:3], nearly):
        assert len(np.setdiff1d(everything, found)) <= 1
    for found in index.candidates(keys[:3], len(index._codes)):
        np.testing.assert_array_equal(found, everything)
    for width in (12, nearly):
        for place, found in enumerate(index.candidates(keys, width)):
            assert (np.diff(found) > 0).all()
            assert found.dtype == np.int64
            scores = keys[found] @ keys[place]
            assert np.isclose(scores.max(), (keys @ keys[place]).max(), atol=1e-3)


def test_candidates_hold_the_exactly_best(fill, embedder) -> None:
    with KnowledgeStore() as store:
        fill(store, 600)
        vectors = store.vectors(embedder.name)
        generator = np.random.default_rng(1)
        queries = generator.standard_normal((80, 12)).astype(np.float32)
        index = FactIndex.build(vectors, queries=queries, wanted=8, recall=0.95)
        assert 8 <= index.width < 400
        assert index.measured_recall >= 0.95
        assert (index.store_id, index.encoder) == (vectors.store_id, embedder.name)
        assert (index.sequence, len(index)) == (store.sequence, 600)
        keys = vectors.keys.astype(np.float32)
        hits = [
            np.isin(np.argsort(-keys @ query)[:8], found).mean()
            for query, found in zip(queries, index.candidates(queries), strict=True)
        ]
        assert np.mean(hits) > 0.85
        check(index, vectors)


@pytest.mark.parametrize("count", [1, 2, 15, 17, 40])
def test_few_facts_are_indexed_as_well(count: int, fill, embedder) -> None:
    with KnowledgeStore() as store:
        fill(store, count)
        vectors = store.vectors(embedder.name)
        index = FactIndex.build(vectors)
        (found,) = index.candidates(np.ones((1, 12), np.float32), count)
        assert found.tolist() == list(range(count))


def test_an_index_is_the_same_whenever_it_is_built(fill, embedder) -> None:
    with KnowledgeStore() as store:
        fill(store, 300)
        vectors = store.vectors(embedder.name)
        query = np.ones((1, 12), np.float32)
        first, second = (FactIndex.build(vectors, seed=3) for _ in range(2))
        assert first.width == second.width
        assert first.candidates(query, 20)[0].tolist() == second.candidates(query, 20)[0].tolist()


@PROFILE
@given(rounds=st.lists(CHANGES, min_size=1, max_size=3), later=st.booleans())
def test_follows_any_changes(rounds, later: bool, tmp_path_factory) -> None:
    from .conftest import HashEmbedder

    embedder = HashEmbedder()
    with KnowledgeStore() as store:
        store.add((f"item {i}", "code", f"code {i}") for i in range(60))
        store.encode(embedder)
        vectors = store.vectors(embedder.name)
        index = FactIndex.build(vectors, wanted=4)
        file = tmp_path_factory.mktemp("index") / "index"
        assert index.save(file, vectors)
        for turn, changes in enumerate(rounds):
            change(store, changes, str(turn))
            if later:  # what came has no vectors for a while
                vectors = store.vectors(embedder.name, previous=vectors)
                index = follow(index, store, vectors)
            store.encode(embedder)
            vectors = store.vectors(embedder.name, previous=vectors)
            index = follow(index, store, vectors)
            check(index, vectors)
            # Written at the first state, or at this one: the same comes of it.
            for _ in range(2):
                loaded = FactIndex.load(file, vectors)
                assert loaded is not None
                check(loaded, vectors)
                assert loaded._listed.tolist() == index._listed.tolist()
                file = file.with_name(f"now {turn}")
                assert index.save(file, vectors)


def test_a_changed_fact_is_a_candidate_of_every_query(fill, embedder) -> None:
    with KnowledgeStore() as store:
        fill(store, 200)
        index = FactIndex.build(store.vectors(embedder.name))
        changed = list(store)[57]
        store.upsert(type(changed)("something else", "code", changed.value, changed.id))
        store.encode(embedder)
        vectors = store.vectors(embedder.name)
        after = follow(index, store, vectors)
        queries = np.random.default_rng(0).standard_normal((9, 12)).astype(np.float32)
        assert all(57 in found for found in after.candidates(queries, 5))
        assert not index.is_of(vectors)
        assert after.changed_share == 1 / 200


def test_two_facts_that_swap_what_they_say(fill, embedder) -> None:
    with KnowledgeStore() as store:
        fill(store, 100)
        index = FactIndex.build(store.vectors(embedder.name))
        one, two = list(store)[3:5]
        store.upsert(
            [
                type(one)(two.entity, two.property, two.value, one.id),
                type(two)(one.entity, one.property, one.value, two.id),
            ]
        )
        store.encode(embedder)
        vectors = store.vectors(embedder.name)
        check(follow(index, store, vectors), vectors)


def test_too_much_change_asks_for_a_new_index(fill, embedder) -> None:
    with KnowledgeStore() as store:
        fill(store, 100)
        vectors = store.vectors(embedder.name)
        index = FactIndex.build(vectors)
        fill(store, 90)
        later = store.vectors(embedder.name)
        assert index.updated(later, [c.fact_id for c in store.journal(index.sequence)]) is None
        # An earlier state, and another store.
        newer = FactIndex.build(later)
        assert newer.updated(vectors, []) is None
    with KnowledgeStore() as other:
        fill(other, 100)
        assert index.updated(other.vectors(embedder.name), []) is None


def test_views_and_wrong_settings_are_refused(fill, embedder) -> None:
    with KnowledgeStore() as store:
        fill(store, 20)
        vectors = store.vectors(embedder.name)
        view = store.vectors(embedder.name, store.view(property="code"))
        empty = store.vectors(embedder.name, store.view(property="none"))
        for facts, settings_ in [
            (view, {}),
            (empty, {}),
            (vectors, {"recall": 0.0}),
            (vectors, {"wanted": 0}),
            (vectors, {"queries": np.ones((3, 5), np.float32)}),
        ]:
            with pytest.raises(ConfigError):
                FactIndex.build(facts, **settings_)
        index = FactIndex.build(vectors)
        assert not index.is_of(view)
        assert index.updated(view, []) is None
        with pytest.raises(ConfigError):
            index.candidates(np.ones((1, 5), np.float32))


def test_facts_kept_as_int8_are_indexed_as_well(fill, embedder, tmp_path: Path) -> None:
    with KnowledgeStore(tmp_path / "facts.db", vectors="int8") as store:
        fill(store, 300)
        vectors = store.vectors(embedder.name)
        index = FactIndex.build(vectors, wanted=8)
        assert index.measured_recall >= 0.99
        check(index, vectors)
        assert index.save(tmp_path / "index", vectors)
        change(store, [("a", 0), ("r", 0.5), ("d", 0.3), ("r", 0.9)], "later")
        store.encode(embedder)
        later = store.vectors(embedder.name, previous=vectors)
        check(follow(index, store, later), later)
        # What was written before is brought up to date by the marks of its keys.
        loaded = FactIndex.load(tmp_path / "index", later)
        assert loaded is not None
        assert loaded._listed.tolist() == follow(index, store, later)._listed.tolist()
        check(loaded, later)
        # Of one state in another form it is as good an index, for what it finds is scored anew.
        store.convert_vectors("half")
        half = store.vectors(embedder.name)
        check(follow(index, store, half), half)
        fill(store, 1)
        assert FactIndex.load(tmp_path / "index", store.vectors(embedder.name)) is None


def test_memory_is_sixteen_bytes_a_fact_at_full_length() -> None:
    from kblam.index._codes import trained

    keys = np.random.default_rng(0).standard_normal((500, 64)).astype(np.float16)
    codes = trained(keys, 0)
    assert codes.nbytes == 16 * 500 + 4 * 16 * 64 + 4 * 64 * 64


def test_an_index_is_not_saved_with_other_facts(fill, embedder, tmp_path: Path) -> None:
    with KnowledgeStore() as store:
        fill(store, 20)
        index = FactIndex.build(store.vectors(embedder.name))
        fill(store, 1)
        with pytest.raises(ConfigError):
            index.save(tmp_path / "index", store.vectors(embedder.name))
