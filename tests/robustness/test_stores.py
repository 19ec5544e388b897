"""Knowledge stores, and the files beside them, that are damaged or are something else."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from malformed import PLANNED, attempt, damaged, judge, many
from tiny_kblam import WordEncoder

from kblam.errors import KBLaMError
from kblam.index import FactIndex, index_path
from kblam.knowledge import Fact, FactVectors, KnowledgeStore
from kblam.knowledge._vector_file import beside

ENCODER = WordEncoder(dimension=8)
LEAST_FILED = 4096  # fewer facts have no file of vectors beside the store


def filled(path: Path, count: int, metadata: bool = True) -> Path:
    with KnowledgeStore(path) as store:
        store.add(
            {"entity": f"Zoë {i}", "property": "code", "value": f"QX-{i % 50}", "team": i % 3}
            if metadata
            else (f"Zoë {i}", "code", f"QX-{i % 50}")
            for i in range(count)
        )
        store.encode(ENCODER)
        store.upsert(("Zoë 1", "code", "changed"))
        store.encode(ENCODER)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("store") / "facts.db", 60)


Content = tuple[list[Fact], np.ndarray, np.ndarray]


def content(store: KnowledgeStore) -> Content:
    """All of a store that a model reads."""
    vectors = store.vectors(ENCODER.name)
    return list(store), np.array(vectors.keys), np.array(vectors.values)


def use(path: Path) -> Content:
    """Do everything with a store that is done with stores, and return what it held."""
    with KnowledgeStore(path) as store:
        found = content(store)
        assert len(store) == len(found[0])
        store.search("Zoë", limit=5)
        list(store.facts(store.view(team=1)))
        list(store.journal())
        store.check()
        added = store.add(("a new", "fact", "indeed"))
        store.encode(ENCODER)
        assert store.remove(entity="a new") == added == 1
        store.check()
    return found


def test_stores(whole: Path, tmp_path: Path) -> None:
    good = whole.read_bytes()
    with KnowledgeStore(whole) as store:
        expected = content(store)

    def make(chance: random.Random) -> bytes:
        page = 4096 * chance.randrange(len(good) // 4096)
        kind = chance.randrange(5)
        if kind == 0:  # a page is lost, or written to another's place
            lost = bytes(4096) if chance.random() < 0.5 else good[:4096]
            return good[:page] + lost + good[page + 4096 :]
        if kind == 1:
            return good[:page]
        if kind == 2:  # where SQLite keeps what it needs to find anything
            place = page + chance.randrange(64)
            return good[:place] + chance.randbytes(2) + good[place + 2 :]
        return damaged(good, chance)

    def check(given: bytes) -> None:
        path = tmp_path / "facts.db"
        path.write_bytes(given)
        outcome = attempt(lambda: use(path))
        if not isinstance(outcome, KBLaMError) and given:
            facts, *vectors = outcome
            assert facts == expected[0]
            for mine, other in zip(vectors, expected[1:], strict=True):
                assert np.isfinite(mine).all()
                # A vector has no checksum: damage to one is damage to that one only.
                assert (mine != other).any(1).sum() <= 60
        for left in tmp_path.glob("facts.db*"):
            left.unlink()

    judge("stores", many(PLANNED["stores"], make), check)


SCHEMAS = (
    "CREATE TABLE facts (a, b)",
    "CREATE TABLE t (x); INSERT INTO t VALUES (1)",
    "PRAGMA application_id = 1112231757",
    "PRAGMA application_id = 1112231757; PRAGMA user_version = 1",
    "PRAGMA application_id = 1112231757; PRAGMA user_version = 99; CREATE TABLE t (x)",
    "PRAGMA application_id = 1112231757; PRAGMA user_version = 1; CREATE TABLE facts (row, id)",
    "PRAGMA application_id = 1112231757; PRAGMA user_version = 1; CREATE VIEW facts AS SELECT 1",
)
EDITS = (
    "DROP TABLE journal",
    "DROP TABLE meta",
    "DELETE FROM meta",
    "UPDATE meta SET digest = 'x'",
    "UPDATE meta SET store = x'ff'",
    "UPDATE encoders SET dimension = 7",
    "UPDATE encoders SET dimension = 0",
    "UPDATE encoders SET dimension = -4",
    "UPDATE encoders SET dimension = 1e9",
    "UPDATE encoders SET dimension = 'many'",
    "UPDATE embeddings SET vector = x'00'",
    "UPDATE embeddings SET vector = 'text' WHERE embedding = 1",
    "UPDATE facts SET metadata = '[1, 2'",
    "UPDATE facts SET metadata = '[1, 2]'",
    "UPDATE facts SET metadata = x'ff'",
    "UPDATE facts SET value = x'fffe' WHERE row = 3",
    "UPDATE facts SET value = CAST(x'fffe' AS TEXT) WHERE row = 3",
    "UPDATE facts SET entity = ' ' WHERE row = 3",
    "UPDATE facts SET key_text = 'x'",
    "UPDATE facts SET digest = -1 WHERE row = 3",
    "UPDATE facts SET id = 12 WHERE row = 3",
)


def test_files_of_other_programs(whole: Path, tmp_path: Path) -> None:
    """Or of this one, edited by hand; and journals of SQLite's that are none."""
    journals = [(suffix, n) for suffix in ("-wal", "-journal", "-shm") for n in range(10)]

    def check_journal(given: tuple[str, int]) -> None:
        suffix, number = given
        path = tmp_path / "journal.db"
        shutil.copy(whole, path)
        chance = random.Random(number)
        path.with_name(path.name + suffix).write_bytes(chance.randbytes(chance.choice([9, 9000])))
        outcome = attempt(lambda: use(path))
        if not isinstance(outcome, KBLaMError):
            assert len(outcome[0]) == 60
        for left in tmp_path.glob("journal.db*"):
            left.unlink()

    judge("journals of stores", journals, check_journal)


@pytest.mark.parametrize("script", SCHEMAS)
def test_other_databases_are_no_stores(script: str, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    before = path.read_bytes()
    assert isinstance(attempt(lambda: use(path)), KBLaMError)
    if b"CREATE" in script.encode():
        with closing(sqlite3.connect(path)) as connection:
            schema = connection.execute("SELECT sql FROM sqlite_master").fetchall()
        assert len(schema) == 1  # nothing was made in it
    assert before[:16] == path.read_bytes()[:16]


@pytest.mark.parametrize("edit", EDITS)
def test_edited_stores(edit: str, whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    shutil.copy(whole, path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "DROP TRIGGER fact_added; DROP TRIGGER fact_removed; DROP TRIGGER fact_updated;"
            "PRAGMA ignore_check_constraints = ON"
        )
        connection.execute(edit)
        connection.commit()
    assert isinstance(attempt(lambda: use(path)), KBLaMError)


def damaged_somewhere(good: bytes, chance: random.Random) -> bytes:
    """Damage a file, half of the time near its beginning, where its layout is told."""
    if chance.random() < 0.5:
        head = damaged(good[:600], chance)
        return head + good[600:] if len(head) != 600 or chance.random() < 0.8 else head
    return damaged(good, chance)


def test_files_of_vectors(tmp_path: Path) -> None:
    path = filled(tmp_path / "facts.db", LEAST_FILED + 100, metadata=False)
    with KnowledgeStore(path) as store:
        expected = content(store)
    file = beside(path, ENCODER.name)
    good = file.read_bytes()
    begins = len(good) - 2 * expected[1].shape[1] * 2 * (len(good) // 40)  # where vectors may

    def check(given: bytes) -> None:
        file.write_bytes(given)
        with KnowledgeStore(path) as store:
            facts, keys, values = content(store)
        assert facts == expected[0]
        changed = (keys != expected[1]).any(1) | (values != expected[2]).any(1)
        same_size = len(given) == len(good)
        assert not changed.any() or (same_size and given[:4096] == good[:4096]), begins
        # 200 bytes of noise touch a few vectors of 16 bytes each, and no more.
        assert changed.sum() <= 20

    make: Callable[[random.Random], bytes] = lambda chance: damaged_somewhere(good, chance)  # noqa: E731
    judge("files of vectors", many(PLANNED["files of vectors"], make), check)


def test_indexes(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    path = filled(tmp_path / "facts.db", 300)
    file = index_path(path, ENCODER.name)
    queries = ENCODER.encode(["the code of Zoë 7", "QX-1"])
    with KnowledgeStore(path) as store:
        vectors: FactVectors = store.vectors(ENCODER.name)
        index = FactIndex.build(vectors)
        assert index.save(file, vectors)
        expected: Any = [found.tolist() for found in index.candidates(queries, 20)]
        good = file.read_bytes()

        def check(given: bytes) -> None:
            file.write_bytes(given)
            loaded = FactIndex.load(file, vectors)
            if loaded is not None:
                assert given.startswith(good)
                assert [found.tolist() for found in loaded.candidates(queries, 20)] == expected

        make: Callable[[random.Random], bytes] = lambda chance: damaged_somewhere(good, chance)  # noqa: E731
        judge("indexes", many(PLANNED["indexes"], make), check)
