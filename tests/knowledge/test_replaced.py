"""A file that is put in the place of an open store's."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kblam.errors import StoreError
from kblam.knowledge import KnowledgeStore


def made(path: Path, name: str, count: int = 300) -> Path:
    with KnowledgeStore(path) as store:
        store.add((f"{name} {i}", "number", str(i)) for i in range(count))
    return path


def names(store: KnowledgeStore) -> set[str]:
    return {fact.entity.split()[0] for fact in store}


def test_a_replaced_store_writes_nothing_into_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    with KnowledgeStore(path) as store:
        store.add((f"old {i}", "number", str(i)) for i in range(300))
        made(tmp_path / "new.db", "new", 200).replace(path)
        for use in (lambda: len(store), lambda: store.add(("late", "number", "1"))):
            with pytest.raises(StoreError, match="was replaced by another file while it was open"):
                use()
        # The log of the old one is still beside it.
        with pytest.raises(StoreError, match=r"the log of another one, facts\.db-wal"):
            KnowledgeStore(path)
    for _ in range(2):
        with KnowledgeStore(path) as again:
            assert names(again) == {"new"}
            assert len(again) == 200
            again.check()
            again.add(("new too", "number", "1"))
            again.remove(entity="new too")


def test_a_log_that_a_killed_process_left_is_not_believed(
    tmp_path: Path, python: Callable[..., list[str]]
) -> None:
    path = tmp_path / "facts.db"
    code = """
import os
from kblam.knowledge import KnowledgeStore
KnowledgeStore(sys.argv[1]).add((f"old {i}", "number", str(i)) for i in range(300))
store = KnowledgeStore(sys.argv[1])
store.add(("old too", "number", sys.argv[2]))
os._exit(0)
"""
    subprocess.run(python(code, path, 1), check=True)
    with KnowledgeStore(path) as store:  # its own: whose process it was makes no difference
        assert len(store) == 301
    subprocess.run(python(code, path, 2), check=True)
    made(tmp_path / "new.db", "new").replace(path)
    content = path.read_bytes()
    for _ in range(2):
        with pytest.raises(StoreError, match=r"delete facts\.db-wal and facts\.db-shm"):
            KnowledgeStore(path)
    assert path.read_bytes() == content
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()
    with KnowledgeStore(path) as store:
        assert names(store) == {"new"}
        store.check()


def test_a_deleted_store_acknowledges_nothing(tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    with KnowledgeStore(path) as store:
        store.add(("old", "number", "1"))
        path.unlink()
        with pytest.raises(StoreError, match="was deleted while it was open"):
            store.add(("late", "number", "1"))
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_leads_elsewhere_leaves_both_stores_as_they_are(tmp_path: Path) -> None:
    first, second = made(tmp_path / "1.db", "first"), made(tmp_path / "2.db", "second")
    link = tmp_path / "facts.db"
    link.symlink_to(first)
    with KnowledgeStore(link) as store:
        store.add(("first too", "number", "1"))
        (tmp_path / "next").symlink_to(second)
        (tmp_path / "next").replace(link)
        with pytest.raises(StoreError, match="was replaced"):
            len(store)
        with KnowledgeStore(link) as again:
            assert names(again) == {"second"}
    with KnowledgeStore(first) as store:
        assert len(store) == 301
        store.check()


def test_a_store_is_replaced_in_place(tmp_path: Path) -> None:
    made(tmp_path / "new.db", "new")
    with KnowledgeStore(made(tmp_path / "facts.db", "old")) as store:
        with KnowledgeStore(tmp_path / "new.db", create=False) as new:
            store.sync(new)
        assert names(store) == {"new"}
