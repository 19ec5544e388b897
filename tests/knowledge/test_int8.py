"""Stores that keep their vectors as int8."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kblam.errors import ConfigError, FactError, StoreCorruptError, StoreError
from kblam.knowledge import FactVectors, KnowledgeStore, ListSource, Triple, unpacked
from kblam.knowledge._layout import Layout, layout_of

FACTS = [("Acme", "founder", "Ann Lee"), ("Acme", "product", "anvils"), ("Bo", "boss", "Ann Lee")]
finite = arrays.arrays(
    np.float16,
    st.tuples(st.integers(0, 4), st.integers(1, 9)),
    elements=st.floats(-65504, 65504, width=16),
)


def make(
    path: Path | str, embedder: Any, form: Any = "int8", facts: Any = tuple(FACTS)
) -> KnowledgeStore:
    store = KnowledgeStore.from_source(list(facts), path, vectors=form)
    store.encode(embedder)
    return store


def assert_same(one: FactVectors, other: FactVectors) -> None:
    assert one.fact_ids == other.fact_ids
    np.testing.assert_array_equal(one.keys, other.keys)
    np.testing.assert_array_equal(one.values, other.values)


def many(count: int) -> list[Triple]:
    return [
        Triple(f"item {i}", "code", f"code {i % 40}", metadata={"third": i % 3})
        for i in range(count)
    ]


@given(finite)
def test_no_number_is_off_by_more_than_half_a_step(half: np.ndarray) -> None:
    layout = Layout("int8", half.shape[1])
    rows = layout.packed(half)
    found = unpacked(rows)
    assert found.shape == half.shape
    single = half.astype(np.float32)
    largest = np.abs(single).max(axis=1, keepdims=True, initial=0.0)
    assert (np.abs(found - single) <= largest / 254 * 1.0001).all()
    # What is largest stands as it is.
    np.testing.assert_allclose(np.abs(found).max(axis=1), largest[:, 0], rtol=1e-6)
    # As read from a database, whatever the length.
    assert layout_of(rows) == layout
    blobs = [row.tobytes() for row in rows]
    assert {len(blob) for blob in blobs} <= {layout.nbytes}
    assert layout.nbytes % 4 == 0
    np.testing.assert_array_equal(layout.of_blobs(blobs), rows)


@given(finite)
def test_there_and_back_again_changes_no_code(half: np.ndarray) -> None:
    layout = Layout("int8", half.shape[1])
    rows = layout.packed(half)
    again = layout.packed(Layout("half", half.shape[1]).packed(rows))
    usual = rows["scale"] > 1e-4  # half precision loses digits near zero
    np.testing.assert_array_equal(again["codes"][usual], rows["codes"][usual])
    np.testing.assert_allclose(again["scale"][usual], rows["scale"][usual], rtol=1e-3)


def test_a_store_keeps_its_form(tmp_path: Path, embedder: Any) -> None:
    path = tmp_path / "facts.db"
    make(path, embedder).close()
    for asked in (None, "int8"):
        with KnowledgeStore(path, vectors=asked) as store:
            assert store.vector_form == "int8"
            store.add([(f"new {asked}", "code", "x")])
            store.encode(embedder)
            vectors = store.vectors(embedder.name)
            assert (vectors.form, vectors.dimension) == ("int8", 8)
            assert vectors.keys["codes"].dtype == np.int8
            assert vectors.nbytes == 2 * len(vectors) * (8 + 4)
            assert vectors.pending == ()
            for row, fact in enumerate(store.get_many(vectors.fact_ids)):
                exact = embedder.vector(fact.key_text)
                np.testing.assert_allclose(
                    unpacked(vectors.keys[row : row + 1])[0], exact, atol=5e-3
                )
            with pytest.raises(ValueError, match="read-only"):
                vectors.keys["codes"][0] = 0
            store.check()


def test_another_form_than_it_has_is_refused(tmp_path: Path, embedder: Any) -> None:
    for has, asked in (("half", "int8"), ("int8", "half")):
        path = tmp_path / f"{has}.db"
        make(path, embedder, has).close()
        with pytest.raises(
            StoreError, match=rf"keeps them as '{has}'.*convert_vectors\('{asked}'\)"
        ):
            KnowledgeStore(path, vectors=asked)
        with KnowledgeStore(path) as store:
            assert store.vector_form == has
            assert len(store) == len(FACTS)


@pytest.mark.parametrize("form", ["int4", "", 8, ["int8"]])
def test_no_other_forms_are_known(tmp_path: Path, form: Any) -> None:
    with pytest.raises(ConfigError, match="'half' or 'int8'"):
        KnowledgeStore(tmp_path / "facts.db", vectors=form)
    assert not list(tmp_path.iterdir())
    with KnowledgeStore() as store, pytest.raises(ConfigError, match="'half' or 'int8'"):
        store.convert_vectors(form)


def test_a_store_in_half_precision_is_what_it_was(tmp_path: Path, embedder: Any) -> None:
    """Versions of kblam that know no forms read and write it as before."""
    path = tmp_path / "facts.db"
    make(path, embedder, None).close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert [row[1] for row in connection.execute("PRAGMA table_info(meta)")] == [
        "store", "digest", "mirror",
    ]  # fmt: skip
    lengths = {len(vector) for (vector,) in connection.execute("SELECT vector FROM embeddings")}
    connection.close()
    assert lengths == {16}
    with KnowledgeStore(path, vectors="half") as store:
        assert store.vector_form == "half"
        vectors = store.vectors(embedder.name)
        assert vectors.keys.dtype == np.float16
        np.testing.assert_array_equal(
            vectors.values[0], embedder.vector("Ann Lee").astype(np.float32).astype(np.float16)
        )


def test_older_versions_refuse_int8(tmp_path: Path, embedder: Any) -> None:
    path = tmp_path / "facts.db"
    make(path, embedder).close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()


class TestConverting:
    def test_a_converted_store_is_as_if_it_had_been_made_so(
        self, tmp_path: Path, embedder: Any
    ) -> None:
        with make(tmp_path / "a.db", embedder, "half") as store, make(":memory:", embedder) as int8:
            before = store.vectors(embedder.name)
            embedder.seen.clear()
            assert store.convert_vectors("int8")
            assert not store.convert_vectors("int8")
            assert store.vector_form == "int8"
            assert store.fingerprint == before.fingerprint
            after = store.vectors(embedder.name, previous=before)
            assert_same(after, int8.vectors(embedder.name))
            store.check()
            assert store.encode(embedder) == 0
            assert embedder.seen == []
            # Back again: what was rounded off is gone, and nothing else.
            assert store.convert_vectors("half")
            back = store.vectors(embedder.name, previous=after)
            assert back.keys.dtype == np.float16
            np.testing.assert_allclose(back.keys, before.keys, atol=5e-3)
            assert store.encode(embedder) == 0
            store.check()
        with KnowledgeStore(tmp_path / "a.db", vectors="half") as store:
            assert_same(store.vectors(embedder.name), back)

    def test_the_file_becomes_smaller(
        self, tmp_path: Path, new_embedder: Callable[..., Any]
    ) -> None:
        path, embedder = tmp_path / "facts.db", new_embedder(dimension=384)
        with make(path, embedder, "half", many(1000)) as store:
            store.vectors(embedder.name)
        before = path.stat().st_size
        with KnowledgeStore(path) as store:
            store.convert_vectors("int8")
        assert path.stat().st_size < 0.75 * before

    def test_no_room_to_tidy_up_is_no_error(
        self, tmp_path: Path, embedder: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: object) -> None:
            raise StoreError("database or disk is full")

        with make(tmp_path / "facts.db", embedder, "half") as store:
            monkeypatch.setattr(type(store._database), "compact", full)
            assert store.convert_vectors("int8")
            assert store.vectors(embedder.name).form == "int8"

    def test_several_encoders_and_interruptions(
        self, tmp_path: Path, new_embedder: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from kblam.knowledge import _convert

        monkeypatch.setattr(_convert, "_CHUNK", 7)
        one, other = new_embedder("one", 8), new_embedder("other", 5)
        with make(tmp_path / "facts.db", one, "half", many(30)) as store:
            store.encode(other)
            held = {e.name: store.vectors(e.name) for e in (one, other)}

            def fail(*_: object) -> None:
                raise FactError("in the middle")

            with monkeypatch.context() as patched:
                patched.setattr(_convert, "write_form", fail)
                with pytest.raises(FactError):
                    store.convert_vectors("int8")
            for name, vectors in held.items():
                assert_same(store.vectors(name), vectors)
            store.convert_vectors("int8")
            for embedder in (one, other):
                expected = Layout("int8", embedder.dimension).packed(held[embedder.name].keys)
                np.testing.assert_array_equal(store.vectors(embedder.name).keys, expected)
            store.check()

    def test_while_it_is_embedded_and_read(
        self, tmp_path: Path, new_embedder: Callable[..., Any]
    ) -> None:
        path, embedder = tmp_path / "facts.db", new_embedder()
        with KnowledgeStore(path) as store, KnowledgeStore(path) as other:
            store.add(many(40))

            class Converting(type(embedder)):
                def encode(self, texts: list[str]) -> np.ndarray:
                    form = "int8" if other.vector_form == "half" else "half"
                    other.convert_vectors(form)
                    return super().encode(texts)

            store.encode(Converting(), batch_size=9)
            vectors = store.vectors(embedder.name)
            assert (len(vectors), vectors.form) == (40, other.vector_form)
            store.check()
            store.sync(ListSource([*many(40), *FACTS]), encoder=Converting())
            assert len(store.vectors(embedder.name)) == 43
            store.check()

    def test_by_one_while_others_read(self, tmp_path: Path, embedder: Any) -> None:
        path = tmp_path / "facts.db"
        make(path, embedder, "half", many(300)).close()
        failures: list[BaseException] = []
        done = threading.Event()

        def read() -> None:
            try:
                with KnowledgeStore(path) as store:
                    held = None
                    while not done.is_set():
                        held = store.vectors(embedder.name, previous=held)
                        near = unpacked(held.values[:1])[0]
                        np.testing.assert_allclose(near, embedder.vector("code 0"), atol=5e-3)
            except BaseException as error:
                failures.append(error)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        with KnowledgeStore(path) as store:
            for turn in range(10):
                store.convert_vectors(("int8", "half")[turn % 2])
        done.set()
        for reader in readers:
            reader.join()
        assert not failures


class TestMirrors:
    def test_a_mirror_keeps_its_own_form(self, tmp_path: Path, embedder: Any) -> None:
        with (
            make(":memory:", embedder, "half", many(50)) as source,
            KnowledgeStore(tmp_path / "mirror.db", vectors="int8") as mirror,
        ):
            mirror.follow(source, encoder=embedder)
            source.upsert(("item 3", "code", "other"))
            source.remove(entity="item 4")
            report = mirror.refresh()
            assert (report.changed, report.removed, report.embedded) == (1, 1, 1)
            with make(":memory:", embedder, "int8", source) as expected:
                found, wanted = (s.vectors(embedder.name) for s in (mirror, expected))
                assert_same(found, wanted)
            mirror.check()

    def test_what_is_synchronised_again_is_not_embedded_again(self, embedder: Any) -> None:
        with KnowledgeStore(vectors="int8") as store:
            store.sync(many(30), encoder=embedder)
            embedder.seen.clear()
            assert not store.sync(many(30), encoder=embedder)
            # The text of a fact that goes is that of one that comes.
            store.sync([("renamed", "code", "code 7"), *many(30)[:7]], encoder=embedder)
            assert embedder.seen == ["the code of renamed"]
            assert store.vectors(embedder.name).pending == ()
            store.check()


class TestDamage:
    @pytest.mark.parametrize(
        "edit",
        [
            "UPDATE meta SET vectors = 'int4'",
            "UPDATE meta SET vectors = x'00'",
            "DELETE FROM meta",
            "UPDATE embeddings SET vector = zeroblob(16)",
            "UPDATE embeddings SET vector = zeroblob(11) WHERE embedding = 1",
            "UPDATE embeddings SET vector = 'text'",
            "UPDATE meta SET vectors = 'half'",
            "UPDATE encoders SET dimension = 12",
            "UPDATE encoders SET dimension = -4",
            "UPDATE encoders SET dimension = 'many'",
        ],
    )
    def test_is_told(self, tmp_path: Path, embedder: Any, edit: str) -> None:
        path = tmp_path / "facts.db"
        make(path, embedder).close()
        connection = sqlite3.connect(path)
        with connection:
            connection.execute(edit)
        connection.close()

        def read(store: KnowledgeStore) -> None:
            store.vectors(embedder.name)

        def convert(store: KnowledgeStore) -> None:
            assert store.convert_vectors("half" if "'half'" not in edit else "int8")

        for work in (read, convert, KnowledgeStore.check):
            with pytest.raises(StoreCorruptError), KnowledgeStore(path) as store:
                work(store)

    @pytest.mark.parametrize("form", ["half", "int8"])
    @pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
    def test_what_is_no_number_is_not_converted(
        self, tmp_path: Path, embedder: Any, form: str, wrong: float
    ) -> None:
        path = tmp_path / "facts.db"
        make(path, embedder, form).close()
        vector = np.full(8, wrong, "<f2") if form == "half" else np.array([wrong, 1, 2], "<f4")
        connection = sqlite3.connect(path)
        with connection:
            query = "UPDATE embeddings SET vector = ? WHERE embedding = 2"
            connection.execute(query, (vector.tobytes(),))
        connection.close()
        with KnowledgeStore(path) as store:
            with pytest.raises(StoreCorruptError, match="too large, or none"):
                store.convert_vectors("int8" if form == "half" else "half")
            assert store.vector_form == form

    def test_a_vector_of_half_precision_among_int8(self, tmp_path: Path, embedder: Any) -> None:
        path = tmp_path / "facts.db"
        make(path, embedder).close()
        connection = sqlite3.connect(path)
        with connection:
            query = "UPDATE embeddings SET vector = ? WHERE embedding = 2"
            connection.execute(query, (os.urandom(16),))
        connection.close()
        with KnowledgeStore(path) as store:
            with pytest.raises(StoreCorruptError, match=r"expected .*int8"):
                store.vectors(embedder.name)
            with pytest.raises(StoreCorruptError, match="1 vectors of the wrong length"):
                store.check()


def test_views_show_the_rows_of_all(tmp_path: Path, embedder: Any) -> None:
    with make(tmp_path / "facts.db", embedder, "int8", many(60)) as store:
        view = store.view(third=1)
        whole, shown = store.vectors_and_views(embedder.name, [view])
        own = store.vectors(embedder.name, view)
        np.testing.assert_array_equal(whole.keys[shown[view].places], own.keys)
        store.upsert(Triple("item 1", "code", "changed", metadata={"third": 1}))
        store.remove(entity="item 4")
        store.encode(embedder)
        whole, shown = store.vectors_and_views(embedder.name, [view], whole, shown)
        own = store.vectors(embedder.name, view, previous=own)
        np.testing.assert_array_equal(whole.values[shown[view].places], own.values)
        assert len(own) == 19
        # A state that is converted meanwhile keeps its views.
        store.convert_vectors("half")
        whole, shown = store.vectors_and_views(embedder.name, [view], whole, shown)
        assert whole.form == "half"
        own = store.vectors(embedder.name, view)
        np.testing.assert_array_equal(whole.keys[shown[view].places], own.keys)


def test_an_encoder_that_is_not_known(embedder: Any) -> None:
    with KnowledgeStore(vectors="int8") as store:
        assert len(store.vectors("nobody")) == 0
        store.add(FACTS)
        vectors = store.vectors("nobody")
        assert (len(vectors), len(vectors.pending)) == (0, 3)
        store.encode(embedder)
        assert len(store.vectors(embedder.name, previous=vectors)) == 3


def test_a_fact_takes_little(tmp_path: Path, new_embedder: Callable[..., Any]) -> None:
    embedder = new_embedder(dimension=384)
    with make(tmp_path / "facts.db", embedder, "int8", many(5000)) as store:
        vectors = store.vectors(embedder.name)
        assert vectors.part.file is not None
        assert vectors.nbytes + vectors.rows.nbytes + vectors.fact_ids.nbytes <= 820 * 5000
    (file,) = tmp_path.glob("facts.db-vectors-*")
    blocks = file.stat().st_blocks * 512
    assert blocks <= 850 * 5000
