"""Only a whole file of the right store makes an index."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kblam.index import FactIndex, index_path
from kblam.knowledge import KnowledgeStore

QUERIES = np.random.default_rng(0).standard_normal((6, 12)).astype(np.float32)


@pytest.fixture
def saved(fill, embedder, tmp_path: Path) -> Path:
    database = tmp_path / "facts.db"
    with KnowledgeStore(database) as store:
        fill(store, 200)
        vectors = store.vectors(embedder.name)
        assert FactIndex.build(vectors).save(index_path(database, embedder.name), vectors)
    return database


def test_what_was_saved_comes_back(saved: Path, embedder) -> None:
    with KnowledgeStore(saved) as store:
        vectors = store.vectors(embedder.name)
        built = FactIndex.build(vectors)
        loaded = FactIndex.load(index_path(saved, embedder.name), vectors)
        assert loaded is not None
        assert loaded.is_of(vectors)
        assert (loaded.width, loaded.measured_recall) == (built.width, built.measured_recall)
        for mine, other in zip(
            built.candidates(QUERIES, 20), loaded.candidates(QUERIES, 20), strict=True
        ):
            assert mine.tolist() == other.tolist()
    assert not list(saved.parent.glob("*.tmp"))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.1, 0.5, 0.99, 0.9999])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "longer"])
def test_a_damaged_file_is_none(share: float, damage: str, saved: Path, embedder) -> None:
    path = index_path(saved, embedder.name)
    content = bytearray(path.read_bytes())
    place = int(share * len(content))
    if damage == "truncated":
        content = content[:place]
    elif damage == "flipped":
        content[place] ^= 0x10
    else:
        content += b"more"
    path.write_bytes(content)
    with KnowledgeStore(saved) as store:
        assert FactIndex.load(path, store.vectors(embedder.name)) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_a_pipe_is_none(saved: Path) -> None:
    path = saved.with_name("pipe")
    os.mkfifo(path)
    # As another process, which can be ended if it waits.
    code = (
        "import sys, pathlib; from kblam.index import _file\n"
        "print(_file.read(pathlib.Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "None\n"


def test_foreign_files_are_none(saved: Path, fill, embedder, tmp_path: Path) -> None:
    path = index_path(saved, embedder.name)
    with KnowledgeStore(tmp_path / "other.db") as other:
        fill(other, 200)
        vectors = other.vectors(embedder.name)
        assert FactIndex.load(path, vectors) is None
        assert FactIndex.load(tmp_path / "other.db", vectors) is None
        assert FactIndex.load(tmp_path / "missing", vectors) is None
        assert FactIndex.load(tmp_path, vectors) is None
    with KnowledgeStore(saved) as store:
        embedder.name = "another"
        store.encode(embedder)
        assert FactIndex.load(path, store.vectors("another")) is None
    assert index_path(saved, "another") != path
    assert index_path(saved, embedder.name, "one adapter") != path


def test_a_file_of_a_later_state_is_none(saved: Path, fill, embedder) -> None:
    copy = saved.with_name("copy.db")
    shutil.copy(saved, copy)
    path = index_path(saved, embedder.name)
    with KnowledgeStore(saved) as store:
        fill(store, 5)
        vectors = store.vectors(embedder.name)
        assert FactIndex.build(vectors).save(path, vectors)
    with KnowledgeStore(copy) as store:
        assert FactIndex.load(path, store.vectors(embedder.name)) is None


@pytest.mark.parametrize("more", [0, 3])
def test_a_store_restored_from_a_copy(more: int, saved: Path, fill, embedder) -> None:
    """Its journal tells of other changes than those that the file has seen."""
    copy = saved.with_name("copy.db")
    shutil.copy(saved, copy)
    path = index_path(saved, embedder.name)
    with KnowledgeStore(saved) as store:
        one, two = list(store)[10:12]
        store.upsert(type(one)("changed", "code", "here", one.id))
        store.encode(embedder)
        vectors = store.vectors(embedder.name)
        assert FactIndex.build(vectors).save(path, vectors)
    with KnowledgeStore(copy) as store:
        store.upsert(type(two)("changed", "code", "there", two.id))
        fill(store, more)
        vectors = store.vectors(embedder.name)
        index = FactIndex.load(path, vectors)
        if not more:  # as many changes, but others
            assert index is None
            return
        assert index is not None
        # What differs from what the file is of: both changed facts, and those that came.
        for found in index.candidates(QUERIES, 5):
            assert {10, 11, 200, 201, 202} <= set(found.tolist())


def test_a_store_restored_from_a_copy_with_the_same_facts_in_other_rows(
    fill, embedder, tmp_path: Path
) -> None:
    database, copy = tmp_path / "facts.db", tmp_path / "copy.db"
    KnowledgeStore(database).close()
    shutil.copy(database, copy)
    path = index_path(database, embedder.name)
    with KnowledgeStore(database) as store:
        fill(store, 200)
        facts = list(store)
        vectors = store.vectors(embedder.name)
        built = FactIndex.build(vectors)
        assert built.save(path, vectors)
    with KnowledgeStore(copy) as store:
        store.add(reversed(facts))
        store.encode(embedder)
        reordered = store.vectors(embedder.name)
        assert reordered.fingerprint == vectors.fingerprint
        assert FactIndex.load(path, reordered) is None
        assert built.updated(reordered, []) is None
        assert not built.is_of(reordered)


def test_a_folder_that_cannot_be_written(saved: Path, embedder) -> None:
    with KnowledgeStore(saved) as store:
        vectors = store.vectors(embedder.name)
        assert not FactIndex.build(vectors).save(saved.parent / "none" / "index", vectors)
