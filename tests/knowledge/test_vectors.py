"""Embedding and reading vectors: each text once, and only what changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kblam.errors import StoreCorruptError, StoreError
from kblam.knowledge import KnowledgeStore, Triple

FACTS = [
    ("Acme", "founder", "Ann Lee"),
    ("Acme", "product", "anvils"),
    ("Acme", "product", "rockets"),
    ("Borealis", "founder", "Ann Lee"),
]


def test_vectors_are_those_of_the_texts(store: KnowledgeStore, embedder: Any) -> None:
    store.add(FACTS)
    assert store.encode(embedder) == 4
    vectors = store.vectors(embedder.name)
    assert vectors.keys.shape == vectors.values.shape == (4, embedder.dimension)
    assert vectors.keys.dtype == vectors.values.dtype == np.float16
    assert vectors.nbytes == 2 * 2 * 4 * embedder.dimension
    for row, fact in enumerate(store):
        assert vectors.fact_ids[row] == fact.id
        np.testing.assert_allclose(vectors.keys[row], embedder.vector(fact.key_text), atol=1e-3)
        np.testing.assert_allclose(vectors.values[row], embedder.vector(fact.value_text), atol=1e-3)


def test_vectors_cannot_be_written_to(store: KnowledgeStore, embedder: Any) -> None:
    store.add(FACTS)
    store.encode(embedder)
    vectors = store.vectors(embedder.name)
    with pytest.raises(ValueError, match="read-only"):
        vectors.keys[0] = 0


def test_equal_texts_are_embedded_once(store: KnowledgeStore, embedder: Any) -> None:
    store.add(FACTS)
    store.encode(embedder, batch_size=1)
    assert sorted(embedder.seen) == sorted(
        [
            "the founder of Acme",
            "Ann Lee",
            "the product of Acme",
            "anvils",
            "rockets",
            "the founder of Borealis",
        ]
    )
    store.add(("Cirrus", "inventor", "Ann Lee"))
    store.encode(embedder)
    assert embedder.seen[6:] == ["the inventor of Cirrus"]


def test_changing_one_of_10000_facts_embeds_one_text_pair(
    tmp_path: Path, new_embedder: Callable[..., Any]
) -> None:
    embedder = new_embedder(dimension=384)
    with KnowledgeStore(tmp_path / "facts.db") as store:
        store.add((f"entity {i}", "number", f"value {i}") for i in range(10_000))
        assert store.encode(embedder, batch_size=2000) == 10_000
        assert len(embedder.seen) == 20_000
        before = store.vectors(embedder.name)
        embedder.seen.clear()

        store.upsert(("entity 4321", "number", "changed"))
        assert store.encode(embedder) == 1
        assert embedder.seen == ["changed"]  # its key's text is the same
        store.upsert(Triple("renamed", "number", "anew", id=store.search("changed")[0].id))
        assert store.encode(embedder) == 1
        assert embedder.seen == ["changed", "the number of renamed", "anew"]

        after = store.vectors(embedder.name, previous=before)
        assert after.fact_ids == before.fact_ids
        differs = np.flatnonzero((after.keys != before.keys).any(axis=1))
        assert differs.tolist() == [4321]
        np.testing.assert_allclose(after.values[4321], embedder.vector("anew"), atol=1e-3)
        assert store.vectors(embedder.name, previous=after) is after


def test_only_changed_rows_are_read(
    tmp_path: Path, embedder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with KnowledgeStore(tmp_path / "facts.db") as store:
        store.add((f"entity {i}", "number", f"value {i}") for i in range(500))
        store.encode(embedder)
        before = store.vectors(embedder.name)
        store.upsert(("entity 7", "number", "seven"))
        store.remove(entity="entity 8")
        store.add(("entity new", "number", "new"))
        store.encode(embedder)
        lengths: list[int] = []
        frombuffer = np.frombuffer

        def counting(blob: bytes, *rest: Any) -> np.ndarray:
            if rest[0] == "<f2":
                lengths.append(len(blob))
            return frombuffer(blob, *rest)

        monkeypatch.setattr(np, "frombuffer", counting)
        after = store.vectors(embedder.name, previous=before)
    assert sum(lengths) == 4 * 2 * embedder.dimension  # two facts, two texts each
    assert len(after) == 500
    assert after.fact_ids[7] == before.fact_ids[7]


def test_previous_of_something_else_is_not_used(store: KnowledgeStore, embedder: Any) -> None:
    store.add(FACTS)
    store.encode(embedder)
    with KnowledgeStore() as other:
        other.add([("Zenith", "founder", "Zoe"), *FACTS[:1]])
        other.encode(embedder)
        foreign = other.vectors(embedder.name)
    ids = store.vectors(embedder.name).fact_ids
    assert store.vectors(embedder.name, previous=foreign).fact_ids == ids
    acme = store.vectors(embedder.name, store.view(entity="Acme"), previous=foreign)
    assert acme.fact_ids == ids[:3]
    assert store.vectors(embedder.name, previous=acme).fact_ids == ids


def test_previous_of_a_later_state_is_not_used(tmp_path: Path, embedder: Any) -> None:
    path, backup = tmp_path / "facts.db", tmp_path / "backup.db"
    with KnowledgeStore(path) as store:
        store.add(FACTS)
        store.encode(embedder)
    backup.write_bytes(path.read_bytes())
    with KnowledgeStore(path) as store, KnowledgeStore(backup) as restored:
        store.remove(entity="Acme")
        later = store.vectors(embedder.name)
        assert len(later) == 1
        assert len(restored.vectors(embedder.name, previous=later)) == 4


def test_facts_without_vectors_are_pending(store: KnowledgeStore, embedder: Any) -> None:
    empty = store.vectors("never heard of")
    assert len(empty) == 0
    assert empty.pending == ()
    store.add(FACTS[:2])
    none = store.vectors(embedder.name, previous=empty)
    assert (len(none), len(none.pending)) == (0, 2)
    store.encode(embedder)
    both = store.vectors(embedder.name, previous=none)
    assert (len(both), len(both.pending)) == (2, 0)
    store.add(FACTS[2])
    some = store.vectors(embedder.name, previous=both)
    assert (len(some), len(some.pending)) == (2, 1)
    store.encode(embedder)
    assert len(store.vectors(embedder.name, previous=some)) == 3


def test_encoders_do_not_mix(store: KnowledgeStore, new_embedder: Callable[..., Any]) -> None:
    store.add(FACTS)
    small, large = new_embedder("small", 4), new_embedder("large", 16)
    store.encode(small)
    store.encode(large)
    assert store.vectors("small").keys.shape == (4, 4)
    assert store.vectors("large").keys.shape == (4, 16)
    with pytest.raises(StoreError, match=r"length 4 .* have length 16"):
        store.encode(new_embedder("small", 16))


def test_vectors_of_a_view(store: KnowledgeStore, embedder: Any) -> None:
    store.add(Triple(*fact, metadata={"n": n}) for n, fact in enumerate(FACTS))
    store.encode(embedder)
    view = store.view(n=[1, 3])
    before = store.vectors(embedder.name, view)
    assert [store.get(i).value for i in before.fact_ids] == ["anvils", "Ann Lee"]
    store.upsert(Triple(*FACTS[2], id=store.search("rockets")[0].id, metadata={"n": 3}))
    store.upsert(Triple(*FACTS[1], id=store.search("anvils")[0].id, metadata={"n": 2}))
    after = store.vectors(embedder.name, view, previous=before)
    assert [store.get(i).value for i in after.fact_ids] == ["rockets", "Ann Lee"]


def test_vectors_of_removed_facts_are_gone(tmp_path: Path, embedder: Any) -> None:
    with KnowledgeStore(tmp_path / "facts.db") as store:
        store.add(FACTS)
        store.encode(embedder)
        store.remove(entity="Acme")
        store.check()  # which finds vectors of no fact
        assert len(store.vectors(embedder.name)) == 1
        embedder.seen.clear()
        store.add(FACTS[0])
        store.encode(embedder)
        assert embedder.seen == ["the founder of Acme"]  # Borealis kept Ann Lee


class Stubborn:
    """Embeds a few texts, then fails."""

    name, dimension = "hash-8", 8

    def __init__(self, inner: Any, batches: int) -> None:
        self.inner, self.batches = inner, batches

    def encode(self, texts: list[str]) -> np.ndarray:
        if self.batches == 0:
            raise RuntimeError("the power went out")
        self.batches -= 1
        return self.inner.encode(texts)


def test_encoding_goes_on_where_it_broke_off(store: KnowledgeStore, embedder: Any) -> None:
    store.add((f"entity {i}", "number", f"value {i}") for i in range(100))
    with pytest.raises(RuntimeError, match="power"):
        store.encode(Stubborn(embedder, batches=3), batch_size=10)
    assert len(embedder.seen) == 60
    assert len(store.vectors("hash-8")) == 30
    assert store.encode(embedder, batch_size=10) == 70
    assert len(embedder.seen) == len(set(embedder.seen)) == 200


def test_facts_that_change_while_they_are_embedded(store: KnowledgeStore, embedder: Any) -> None:
    class Meddling(Stubborn):
        def encode(self, texts: list[str]) -> np.ndarray:
            if self.batches:
                store.remove(entity="entity 3")
                store.upsert(("entity 5", "number", "five"))
                store.add(("entity 99", "number", "late"))
            self.batches = 0
            return self.inner.encode(texts)

    store.add((f"entity {i}", "number", f"value {i}") for i in range(10))
    store.encode(Meddling(embedder, batches=1))
    store.check()
    store.encode(embedder)
    vectors = store.vectors("hash-8")
    assert len(vectors) == 10
    assert not vectors.pending
    five = vectors.fact_ids.index(store.search("five")[0].id)
    np.testing.assert_allclose(vectors.values[five], embedder.vector("five"), atol=1e-3)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.zeros((1, 8)), r"given 2 texts and returned an array of shape \(1, 8\)"),
        (np.zeros((2, 7)), r"expected \(2, 8\)"),
        (np.full((2, 8), np.nan), "NaN"),
        (np.full((2, 8), 1e9), "infinity"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_bad_vectors_are_refused(store: KnowledgeStore, vectors: Any, message: str) -> None:
    class Broken:
        name, dimension = "broken", 8

        def encode(self, texts: list[str]) -> np.ndarray:
            return vectors

    store.add(FACTS[0])
    with pytest.raises(StoreError, match=message):
        store.encode(Broken())
    assert len(store.vectors("broken")) == 0


def test_threads_embed_each_fact_once(store: KnowledgeStore, embedder: Any) -> None:
    store.add((f"entity {i}", "number", f"value {i}") for i in range(300))
    threads = [
        threading.Thread(target=store.encode, args=(embedder,), kwargs={"batch_size": 50})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(embedder.seen) == 600


def test_damaged_vectors_are_noticed(tmp_path: Path, embedder: Any) -> None:
    path = tmp_path / "facts.db"
    with KnowledgeStore(path) as store:
        store.add(FACTS)
        store.encode(embedder)
        with store._database.write() as connection:
            connection.execute("UPDATE embeddings SET vector = x'00' WHERE embedding = 1")
        with pytest.raises(StoreCorruptError, match="vectors are damaged"):
            store.vectors(embedder.name)
        with pytest.raises(StoreCorruptError, match="vectors of the wrong length"):
            store.check()


@pytest.mark.weights
def test_the_real_encoder_embeds_only_what_changed(tmp_path: Path) -> None:
    from kblam.encoding import SentenceEncoder

    class Counting:
        def __init__(self) -> None:
            self.inner = SentenceEncoder(cache_size=0)
            self.name, self.dimension = self.inner.name, self.inner.dimension
            self.seen: list[str] = []

        def encode(self, texts: list[str]) -> np.ndarray:
            self.seen.extend(texts)
            return self.inner.encode(texts)

    encoder = Counting()
    with KnowledgeStore(tmp_path / "facts.db") as store:
        store.add([*FACTS, ("Aurora", "launch code", "QX-7719"), ("Aurora", "lead", "Mirela Osei")])
        store.encode(encoder)
        encoder.seen.clear()
        store.upsert(("Aurora", "launch code", "ZT-0042"))
        store.encode(encoder)
        assert encoder.seen == ["ZT-0042"]
        vectors = store.vectors(encoder.name)
        (question,) = encoder.encode(["What is the code to launch Aurora?"])
        best = int(np.argmax(vectors.keys.astype(np.float32) @ question))
        assert store.get(vectors.fact_ids[best]).value == "ZT-0042"
