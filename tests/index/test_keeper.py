"""A keeper never makes anybody wait, and never gives an index of other facts."""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from kblam.index import FactIndex, IndexKeeper, index_path
from kblam.index import keeper as keeper_module
from kblam.knowledge import FactVectors, KnowledgeStore

PATIENCE = 60.0


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path: Path):
    path = ":memory:" if request.param == "memory" else tmp_path / "facts.db"
    with KnowledgeStore(path) as opened:
        yield opened


def ready(keeper: IndexKeeper, vectors: FactVectors) -> FactIndex:
    keeper.of(vectors)
    assert keeper.wait(PATIENCE)
    index = keeper.of(vectors)
    assert index is not None
    assert index.is_of(vectors)
    return index


def test_falls_back_builds_and_follows(store: KnowledgeStore, fill, embedder) -> None:
    fill(store, 300)
    keeper = IndexKeeper(store, at_least=100)
    vectors = store.vectors(embedder.name)
    assert keeper.of(vectors) is None  # it is being built
    index = ready(keeper, vectors)
    assert keeper.of(vectors) is index
    assert store.path is None or index_path(store.path, embedder.name).exists()
    # One change is followed at once.
    store.remove(entity="item 7")
    fill(store, 1)
    earlier, vectors = vectors, store.vectors(embedder.name)
    followed = keeper.of(vectors)
    assert followed is not None
    assert followed.is_of(vectors)
    assert keeper.of(earlier) is None
    # Many are followed by the thread.
    fill(store, 40)
    vectors = store.vectors(embedder.name)
    assert keeper.of(vectors) is None
    many = ready(keeper, vectors)
    assert len(many) == 340
    assert len(many._codes) == 300
    keeper.close()
    assert keeper.of(vectors) is None
    assert keeper.wait(PATIENCE)


def test_the_file_is_read_where_there_is_one(tmp_path: Path, fill, embedder, monkeypatch) -> None:
    with KnowledgeStore(tmp_path / "facts.db") as store:
        fill(store, 300)
        first = ready(IndexKeeper(store, at_least=1), store.vectors(embedder.name))
        monkeypatch.setattr(FactIndex, "build", None)
        again = ready(IndexKeeper(store, at_least=1), store.vectors(embedder.name))
        assert again.width == first.width


def test_small_stores_and_views_have_none(store: KnowledgeStore, fill, embedder) -> None:
    fill(store, 50)
    keeper = IndexKeeper(store, at_least=51)
    assert keeper.of(store.vectors(embedder.name)) is None
    viewing = IndexKeeper(store, at_least=1)
    assert viewing.of(store.vectors(embedder.name, store.view(property="code"))) is None
    assert keeper.wait(0)
    assert viewing.wait(0)


def test_without_faiss_all_facts_are_scanned(
    store: KnowledgeStore, fill, embedder, monkeypatch, caplog
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    fill(store, 50)
    keeper = IndexKeeper(store, at_least=1)
    vectors = store.vectors(embedder.name)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert keeper.of(vectors) is None
            assert keeper.wait(PATIENCE)
    assert [record.message.count("kblam[index]") for record in caplog.records] == [1]


def test_an_error_is_logged_once_and_the_build_not_repeated(
    store: KnowledgeStore, fill, embedder, caplog
) -> None:
    fill(store, 50)
    asked = []

    def queries(vectors: FactVectors) -> np.ndarray:
        asked.append(vectors)
        raise RuntimeError("no questions")

    keeper = IndexKeeper(store, at_least=1, sample_queries=queries)
    vectors = store.vectors(embedder.name)
    for _ in range(3):
        assert keeper.of(vectors) is None
        assert keeper.wait(PATIENCE)
    assert len(asked) == len(caplog.records) == 1


def test_sample_queries_are_asked_for_in_the_thread(store: KnowledgeStore, fill, embedder) -> None:
    fill(store, 100)
    asked = []

    def queries(vectors: FactVectors) -> np.ndarray:
        asked.append(threading.current_thread())
        return vectors.keys[:20].astype(np.float32)

    ready(IndexKeeper(store, at_least=1, sample_queries=queries), store.vectors(embedder.name))
    assert len(asked) == 1
    assert asked[0] is not threading.current_thread()


def test_a_worn_index_serves_until_there_is_a_new_one(
    store: KnowledgeStore, fill, embedder, monkeypatch
) -> None:
    monkeypatch.setattr(keeper_module, "_REST", 0.0)
    fill(store, 200)
    keeper = IndexKeeper(store, at_least=1)
    ready(keeper, store.vectors(embedder.name))
    fill(store, 10)
    vectors = store.vectors(embedder.name)
    worn = keeper.of(vectors)
    assert worn is not None
    assert len(worn._codes) == 200
    assert keeper.wait(PATIENCE)
    fresh = keeper.of(vectors)
    assert fresh is not None
    assert len(fresh._codes) == 210


def test_closing_ends_a_build(store: KnowledgeStore, fill, embedder) -> None:
    fill(store, 50)
    entered, go = threading.Event(), threading.Event()

    def queries(vectors: FactVectors) -> np.ndarray:
        entered.set()
        go.wait(PATIENCE)
        return vectors.keys[:20].astype(np.float32)

    keeper = IndexKeeper(store, at_least=1, sample_queries=queries)
    vectors = store.vectors(embedder.name)
    keeper.of(vectors)
    assert entered.wait(PATIENCE)
    assert not keeper.wait(0)
    keeper.close()
    go.set()
    assert keeper.wait(PATIENCE)
    assert keeper.of(vectors) is None
    assert store.path is None or not index_path(store.path, embedder.name).exists()


def test_many_threads_get_the_index_of_their_own_facts(
    store: KnowledgeStore, fill, embedder
) -> None:
    fill(store, 200)
    keeper = IndexKeeper(store, at_least=1)
    ready(keeper, store.vectors(embedder.name))
    wrong = []

    def read() -> None:
        for _ in range(30):
            vectors = store.vectors(embedder.name)
            index = keeper.of(vectors)
            if index is not None and not index.is_of(vectors):
                wrong.append(index)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        fill(store, 1)
    for thread in threads:
        thread.join(PATIENCE)
    assert not wrong
    assert keeper.wait(PATIENCE)
    ready(keeper, store.vectors(embedder.name))
