"""The file of vectors beside a store: only ever a quicker way to the same vectors."""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kblam.errors import StoreCorruptError
from kblam.knowledge import FactVectors, KnowledgeStore, Triple, View
from kblam.knowledge import _vector_file as vector_file
from kblam.knowledge import _vector_rows as vector_rows
from kblam.knowledge._layout import Layout, VectorForm
from kblam.knowledge._schema import prepare
from kblam.knowledge._state import comes_from, read_state

NAME = "hash-8"


@pytest.fixture(autouse=True)
def file_however_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_rows, "_LEAST_FILED", 1)


@pytest.fixture(params=["half", "int8"])
def form(request: pytest.FixtureRequest) -> VectorForm:
    return request.param


@pytest.fixture
def path(tmp_path: Path, embedder: Any, form: VectorForm) -> Path:
    """A store of 300 facts whose vectors were read once."""
    path = tmp_path / "facts.db"
    with KnowledgeStore(path, vectors=form) as store:
        store.add(
            Triple(f"entity {i}", "number", f"value {i % 50}", metadata={"third": i % 3})
            for i in range(300)
        )
        store.encode(embedder)
        store.vectors(NAME)
    return path


def beside(path: Path) -> Path:
    return vector_file.beside(path, NAME)


def from_database(path: Path, view: View | None = None) -> FactVectors:
    """The vectors without the file."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(vector_rows, "opened", lambda *_: None)
        patched.setattr(vector_rows, "keep", lambda *_: None)
        with KnowledgeStore(path) as store:
            return store.vectors(NAME, view)


def assert_same(one: FactVectors, other: FactVectors) -> None:
    assert one.fact_ids == other.fact_ids
    assert sorted(one.pending) == sorted(other.pending)
    assert one.fingerprint == other.fingerprint
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.keys, other.keys)
    np.testing.assert_array_equal(one.values, other.values)


def test_a_store_opens_without_reading_its_vectors(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = from_database(path)
    monkeypatch.setattr(vector_rows.Reader, "all_rows", None)
    with KnowledgeStore(path) as store:
        vectors = store.vectors(NAME)
        assert vectors.part.file is not None
        assert_same(vectors, expected)
        with pytest.raises(ValueError, match="read-only"):
            vectors.keys[0] = 0


def test_few_facts_leave_no_file(
    tmp_path: Path, embedder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    with KnowledgeStore(tmp_path / "facts.db") as store:
        store.add([("Acme", "founder", "Ann Lee")])
        store.encode(embedder)
        assert len(store.vectors(NAME)) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["facts.db"]


def change(store: KnowledgeStore, choose: random.Random) -> None:
    facts = list(store)
    fact = choose.choice(facts)
    kind = choose.choice(["value", "value", "key", "add", "remove", "again", "rename"])
    new = f"new {choose.random()}"
    if kind == "value":
        store.upsert((fact.entity, fact.property, new))
    elif kind == "key":
        store.upsert(Triple(new, fact.property, fact.value, id=fact.id))
    elif kind == "add":
        store.add([(new, "number", f"value {n}") for n in range(choose.randint(1, 3))])
    elif kind == "remove":
        store.remove(id=fact.id)
    elif kind == "again":  # the same identifier in another row
        store.remove(id=fact.id)
        store.add([("between", "number", new), fact])
    else:  # another identifier in the same row
        store.upsert(Triple(fact.entity, fact.property, fact.value, id=new))


@pytest.mark.parametrize("seed", range(8))
def test_whatever_changed_since_is_found(path: Path, embedder: Any, seed: int) -> None:
    choose = random.Random(seed)
    held: FactVectors | None = None
    with KnowledgeStore(path) as keeping:
        for _ in range(10):
            with KnowledgeStore(path) as store:
                for _ in range(choose.choice([0, 1, 1, 3])):
                    change(store, choose)
                if choose.random() < 0.8:
                    store.encode(embedder)
            expected = from_database(path)
            # Read on by a process that had it open, and opened by another one.
            held = keeping.vectors(NAME, previous=held)
            assert_same(held, expected)
            with KnowledgeStore(path) as store:
                assert_same(store.vectors(NAME), expected)


def test_a_changed_fact_costs_no_copy_and_leaves_what_was_read_before(
    path: Path, embedder: Any
) -> None:
    with KnowledgeStore(path) as store:
        before = after = store.vectors(NAME)
        kept = before.values.copy()
        for i in (7, 8):
            store.upsert((f"entity {i}", "number", "changed"))
            store.add((f"entity new {i}", "number", "added"))
            store.encode(embedder)
            after = store.vectors(NAME, previous=after)
        np.testing.assert_array_equal(before.values, kept)
        assert after.part.file is before.part.file
        assert after.part.overlay.tolist() == [7, 8, 300, 301]
    assert_same(after, from_database(path))


def test_a_removed_fact_is_gone_and_the_next_change_is_cheap_again(
    path: Path, embedder: Any
) -> None:
    with KnowledgeStore(path) as store:
        before = store.vectors(NAME)
        store.remove(entity="entity 5")
        after = store.vectors(NAME, previous=before)
        assert len(after) == 299
        store.upsert(("entity 7", "number", "changed"))
        store.encode(embedder)
        last = store.vectors(NAME, previous=after)
        assert last.part.file is after.part.file is not None
    assert_same(last, from_database(path))


def test_a_view_is_gathered_from_the_file(path: Path, embedder: Any) -> None:
    with KnowledgeStore(path) as store:
        store.upsert(Triple("entity 1", "number", "pending", metadata={"third": 2}))
        view = store.view(third=[0, 2])
        assert len(store.vectors(NAME, view)) == 200
        assert_same(store.vectors(NAME, view), from_database(path, view))


@pytest.mark.parametrize("damage", ["cut", "grown", "empty", "magic", "header", "index", "text"])
def test_a_damaged_file_is_not_read(path: Path, form: VectorForm, damage: str) -> None:
    expected, file = from_database(path), beside(path)
    content = bytearray(file.read_bytes())
    if damage == "cut":
        del content[-1:]
    elif damage == "grown":
        content += b"\0"
    elif damage == "empty":
        content.clear()
    elif damage == "text":
        content[:] = b"not vectors at all"
    else:
        content[{"magic": 3, "header": 40, "index": 4096 + 5}[damage]] ^= 1
    file.write_bytes(content)
    with KnowledgeStore(path) as store:
        assert_same(store.vectors(NAME), expected)
    # It was written anew.
    assert vector_file.opened(path, expected.store_id, NAME, Layout(form, 8)) is not None


@pytest.mark.parametrize("place", ["first key", "last key", "value", "sum"])
def test_damaged_vectors_are_found_by_a_check(
    path: Path, form: VectorForm, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_file, "_RUN", 100)
    expected, file = from_database(path), beside(path)
    file.unlink()
    with KnowledgeStore(path) as store:
        store.vectors(NAME)
        store.check()
    stored = vector_file.opened(path, expected.store_id, NAME, Layout(form, 8))
    assert stored is not None
    keys, values, sums = stored.file.header.offsets(stored.file.start)
    last = keys + expected.keys.nbytes - 1
    content = bytearray(file.read_bytes())
    content[{"first key": keys, "last key": last, "value": values + 1, "sum": sums}[place]] ^= 4
    file.write_bytes(content)
    with KnowledgeStore(path) as store:
        with pytest.raises(StoreCorruptError, match=f"is whole.*Delete {re.escape(str(file))}"):
            store.check()
        file.unlink()
        assert_same(store.vectors(NAME), expected)
        store.check()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_a_pipe_of_that_name_keeps_nobody_waiting(
    path: Path, form: VectorForm, python: Callable[..., list[str]]
) -> None:
    expected = from_database(path)
    beside(path).unlink()
    os.mkfifo(beside(path))
    read = (
        "from kblam.knowledge import KnowledgeStore\n"
        "print(len(KnowledgeStore(sys.argv[1]).vectors('hash-8')))"
    )
    # Another process, which can be ended if it waits.
    done = subprocess.run(python(read, path), capture_output=True, text=True, timeout=30)
    assert done.stdout == "300\n"
    with KnowledgeStore(path) as store:
        assert_same(store.vectors(NAME), expected)
    assert beside(path).is_file()  # what stood there was replaced


def test_the_file_of_another_store_is_not_read(path: Path, tmp_path: Path, embedder: Any) -> None:
    other = tmp_path / "other.db"
    with KnowledgeStore(other) as store:
        store.add((f"other {i}", "number", f"value {i}") for i in range(300))
        store.encode(embedder)
    shutil.copy(beside(path), beside(other))
    with KnowledgeStore(other) as store:
        assert_same(store.vectors(NAME), from_database(other))


@pytest.mark.parametrize("said", ["the other", "int4", None, 8, ["int8"]])
def test_a_file_that_is_said_to_be_in_another_form_is_not_read(
    path: Path, form: VectorForm, said: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    if said == "the other":
        said = "half" if form == "int8" else "int8"
    expected = from_database(path)
    write = vector_file.write_header

    def saying(file: Any, magic: bytes, about: dict[str, Any]) -> int:
        return write(file, magic, {**about, "form": said})

    with monkeypatch.context() as patched:
        patched.setattr(vector_file, "write_header", saying)
        beside(path).unlink()
        with KnowledgeStore(path) as store:
            store.vectors(NAME)
    assert beside(path).exists()
    assert vector_file.opened(path, expected.store_id, NAME, Layout(form, 8)) is None
    with KnowledgeStore(path) as store:
        assert_same(store.vectors(NAME), expected)


def test_the_file_of_another_history_is_not_read(path: Path, embedder: Any) -> None:
    backup = path.with_name("backup.db")
    shutil.copy(path, backup)
    with KnowledgeStore(path) as store:
        store.upsert(("entity 1", "number", "after the backup"))
        store.encode(embedder)
        beside(path).unlink()
        store.vectors(NAME)
    # The copy is put back and changed as many times, in another way.
    shutil.copy(backup, path)
    with KnowledgeStore(path) as store:
        store.upsert(("entity 2", "number", "after the return"))
        store.encode(embedder)
        assert_same(store.vectors(NAME), from_database(path))
        assert store.search("after the backup") == []


RED = Triple("entity new", "number", "red", metadata={"third": "red"})
BLUE = Triple("entity new", "number", "blue", metadata={"third": "blue"})


@pytest.mark.parametrize("more", [-1, 0, 1, 3])
def test_the_file_of_the_same_facts_in_other_rows_is_not_read(
    path: Path, embedder: Any, more: int
) -> None:
    backup = path.with_name("backup.db")
    shutil.copy(path, backup)
    with KnowledgeStore(path) as store:
        store.add([RED, BLUE])
        store.encode(embedder)
        beside(path).unlink()
        before = store.vectors(NAME)
    # The copy is put back, and the same facts come in another order.
    shutil.copy(backup, path)
    others = [(f"entity {i}", "more", "value") for i in range(more)]
    with KnowledgeStore(path) as store:
        store.add([BLUE, RED, *others][: 2 + more])
        store.encode(embedder)
        assert_same(store.vectors(NAME, previous=before), from_database(path))
        assert_same(store.vectors(NAME), from_database(path))
        blue = store.view(third="blue")
        vectors, views = store.vectors_and_views(NAME, [blue])
        assert [store.get(vectors.fact_ids[p]).value for p in views[blue].places] == ["blue"]
        _, followed = store.vectors_and_views(NAME, [blue], before, views)
        assert followed[blue].places.tolist() == views[blue].places.tolist()


@pytest.mark.parametrize("more", [0, 3])
def test_a_copy_that_is_put_back_goes_on_from_the_file_of_its_past(
    path: Path, embedder: Any, more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = path.with_name("backup.db")
    shutil.copy(path, backup)
    with KnowledgeStore(path) as store:
        store.add([RED, BLUE])
        store.encode(embedder)
        assert len(store.vectors(NAME)) == 302  # which leaves the file as it is
    shutil.copy(backup, path)
    with KnowledgeStore(path) as store:
        store.add((f"entity {i}", "more", "value") for i in range(more))
        store.encode(embedder)
        expected = from_database(path)
        monkeypatch.setattr(vector_rows.Reader, "all_rows", None)
        assert_same(store.vectors(NAME), expected)


def as_earlier_versions_wrote(path: Path) -> None:
    """Take the marks out of a store's journal."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        triggers = connection.execute(query).fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("ALTER TABLE journal DROP COLUMN mark")
        for _, made in triggers:
            connection.execute(made.replace(", mark)", ")").replace(", random())", ")"))
        connection.commit()


def test_a_store_of_an_earlier_version_gets_marks(path: Path, embedder: Any) -> None:
    expected = from_database(path)
    as_earlier_versions_wrote(path)
    beside(path).unlink()
    with KnowledgeStore(path) as store:
        first = store.vectors(NAME)
        assert_same(first, expected)
        assert first.mark is not None
        assert beside(path).exists()
        store.add([RED])
        store.encode(embedder)
        later = store.vectors(NAME, previous=first)
        assert later.part.file is first.part.file
        assert later.mark not in (None, first.mark)
        store.check()
    with KnowledgeStore(path) as store:
        assert_same(store.vectors(NAME), later)


def test_a_store_of_an_earlier_version_that_can_only_be_read(path: Path) -> None:
    as_earlier_versions_wrote(path)
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.isolation_level = None
        prepare(connection, str(path), None, create=False)
        state = read_state(connection)
        assert (state.sequence, state.mark) == (300, None)
        assert comes_from(connection, state.store, 300, None)


def test_a_full_disk_is_no_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside(path).unlink()

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with KnowledgeStore(path) as store:
        assert len(store.vectors(NAME)) == 300
    assert [file.name for file in path.parent.iterdir()] == ["facts.db"]


def test_what_killed_writers_left_is_removed(path: Path) -> None:
    old, young = (beside(path).with_name(f"{beside(path).name}.{n}.tmp") for n in "ab")
    for file in (old, young):
        file.write_bytes(b"torn")
    os.utime(old, (0, 0))
    beside(path).unlink()
    with KnowledgeStore(path) as store:
        store.vectors(NAME)
    assert not old.exists()
    assert young.exists()


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_others_may_read_no_more_than_the_store(path: Path) -> None:
    beside(path).unlink()
    path.chmod(0o600)
    with KnowledgeStore(path) as store:
        store.vectors(NAME)
    assert beside(path).stat().st_mode & 0o777 == 0o600


WRITER = """
import numpy as np
from kblam.knowledge import KnowledgeStore, _vector_rows, _vector_file

class Embedder:
    name, dimension = "hash-8", 8
    def encode(self, texts):
        return np.full((len(texts), 8), 0.5, np.float32)

_vector_rows._LEAST_FILED = 1
with KnowledgeStore(sys.argv[1]) as store:
    print("ready", flush=True)
    for i in range(10**6):
        store.upsert(("entity 0", "number", f"killed {i}"))
        store.encode(Embedder())
        _vector_file.beside(store.path, "hash-8").unlink(missing_ok=True)
        store.vectors("hash-8")
"""


def test_a_killed_writer_leaves_no_torn_file(
    path: Path, python: Callable[..., list[str]], embedder: Any
) -> None:
    choose = random.Random(5)
    for _ in range(4):
        process = subprocess.Popen(python(WRITER, path), stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(choose.uniform(0.05, 0.3))
        process.kill()
        process.wait()
        process.stdout.close()
        with KnowledgeStore(path) as store:
            store.check()
            assert_same(store.vectors(NAME), from_database(path))
