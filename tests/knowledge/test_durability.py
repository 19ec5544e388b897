"""Killed writers, many readers, damaged files."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kblam.errors import StoreCorruptError, StoreError
from kblam.knowledge import KnowledgeStore, Triple

Command = Callable[..., list[str]]

# Writes batches of facts, of which only the whole may ever be seen, and says which are committed.
WRITER = """
import numpy as np
from kblam.knowledge import KnowledgeStore, Triple

class Embedder:
    name, dimension = "even", 4
    def encode(self, texts):
        return np.full((len(texts), 4), 0.5, np.float32)

store = KnowledgeStore(sys.argv[1])
batch = int(sys.argv[2])
while True:
    facts = [Triple(f"entity {batch}", f"part {i}", "x" * 500, metadata={"batch": batch})
             for i in range(20)]
    store.add(facts)
    print("added", batch, flush=True)
    store.upsert([Triple(f"entity {batch}", f"part {i}", f"new {batch}", metadata={"batch": batch})
                  for i in range(10)])
    store.encode(Embedder(), batch_size=7)
    if batch % 3 == 0:
        store.remove(entity=f"entity {batch}")
        print("removed", batch, flush=True)
    batch += 1
"""


def test_a_killed_writer_leaves_whole_transactions(tmp_path: Path, python: Command) -> None:
    path = tmp_path / "facts.db"
    choose = random.Random(7)
    added: set[int] = set()
    removed: set[int] = set()
    start = 0
    for _ in range(6):
        process = subprocess.Popen(
            python(WRITER, path, start),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        # Some way on, and then at any moment: within a transaction more often than not.
        said = [process.stdout.readline() for _ in range(choose.randint(1, 8))]
        time.sleep(choose.uniform(0, 0.03))
        process.kill()
        said += process.stdout.readlines()
        process.stdout.close()
        process.wait()
        for line in said:
            verb, batch = line.split()
            (added if verb == "added" else removed).add(int(batch))
        start = max(added) + 100

        with KnowledgeStore(path) as store:
            store.check()
            found: dict[int, list[str]] = {}
            for fact in store:
                found.setdefault(fact.metadata["batch"], []).append(fact.value)
            # All that was said to be there is there; what was about to be said may be.
            assert added - removed - found.keys() <= {max(added)}
            assert all(batch % 3 == 0 for batch in added - found.keys())
            assert not removed & found.keys()
            # Gone before it could be said: that may be so from now on.
            removed |= added - found.keys()
            for batch, values in found.items():
                assert len(values) == 20
                assert values.count(f"new {batch}") in (0, 10)
            vectors = store.vectors("even")
            assert len(vectors) + len(vectors.pending) == len(store)
    assert len(added) > 6


# Reads states in which two facts always have the same value.
READER = """
from kblam.knowledge import KnowledgeStore

last = -1
with KnowledgeStore(sys.argv[1]) as store:
    print("ready", flush=True)
    while last < int(sys.argv[2]):
        left, right = [int(fact.value) for fact in store.search(property="count")]
        assert left == right >= last, (left, right, last)
        last = left
print("done", flush=True)
"""


def test_readers_in_other_processes_see_whole_states(tmp_path: Path, python: Command) -> None:
    path = tmp_path / "facts.db"
    rounds = 150
    with KnowledgeStore(path) as store:
        store.add([("left", "count", "0"), ("right", "count", "0")])
        readers = [
            subprocess.Popen(
                python(READER, path, rounds),
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
        for count in range(1, rounds + 1):
            store.upsert([("left", "count", str(count)), ("right", "count", str(count))])
        for reader in readers:
            output, _ = reader.communicate(timeout=60)
            assert output == "done\n"
            assert reader.returncode == 0


def test_threads_share_a_store(store: KnowledgeStore) -> None:
    store.add([("left", "count", "0"), ("right", "count", "0")])
    faults: list[object] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                pair = [fact.value for fact in store.search(property="count")]
                if len(pair) != 2 or pair[0] != pair[1]:
                    faults.append(pair)
        except Exception as error:
            faults.append(error)

    def write(name: str) -> None:
        try:
            for i in range(20):
                store.add((name, "step", str(i)))
        except Exception as error:
            faults.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    writers = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in (*readers, *writers):
        thread.start()
    for count in range(1, 40):
        store.upsert([("left", "count", str(count)), ("right", "count", str(count))])
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert not faults
    assert len(store) == 62
    store.check()


def test_two_processes_may_create_a_store_at_once(tmp_path: Path, python: Command) -> None:
    code = """
from kblam.knowledge import KnowledgeStore
sys.stdin.readline()
with KnowledgeStore(sys.argv[1]) as store:
    for i in range(20):
        store.add((sys.argv[2], "step", str(i)))
"""
    path = tmp_path / "facts.db"
    processes = [
        subprocess.Popen(python(code, path, name), stdin=subprocess.PIPE, text=True)
        for name in "abc"
    ]
    for process in processes:
        process.communicate("go\n", timeout=60)
        assert process.returncode == 0
    with KnowledgeStore(path) as store:
        assert len(store) == 60
        store.check()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_has_connections_of_its_own(tmp_path: Path, python: Command) -> None:
    code = """
import os
from kblam.knowledge import KnowledgeStore
store = KnowledgeStore(sys.argv[1])
store.add(("parent", "step", "1"))
child = os.fork()
if child == 0:
    store.add(("child", "step", "1"))
    os._exit(len(store))
_, status = os.waitpid(child, 0)
store.add(("parent", "step", "2"))
assert os.waitstatus_to_exitcode(status) == 2
assert len(store) == 3
store.check()
"""
    subprocess.run(python(code, tmp_path / "facts.db"), check=True)


def test_a_store_opened_again_is_still_shared(tmp_path: Path, python: Command) -> None:
    """Another process that closes it must not think that nobody else has it open."""
    code = """
from kblam.knowledge import KnowledgeStore
with KnowledgeStore(sys.argv[1]) as store:
    store.add((sys.argv[2], "step", "1"))
    print(len(store))
"""
    path = tmp_path / "facts.db"
    with KnowledgeStore(path) as store:
        store.add(("here", "step", "0"))
        for turn in range(3):
            with KnowledgeStore(path) as again:
                assert len(again) == len(store)
            said = subprocess.check_output(python(code, path, f"there {turn}"), text=True)
            assert int(said) == len(store) == 2 * turn + 2
            assert path.with_name("facts.db-wal").exists()
            store.add((f"here {turn}", "step", "1"))
        store.check()
    with KnowledgeStore(path) as store:
        assert len(store) == 7


@pytest.mark.parametrize("content", [b"a", b"abc", b"x" * 99, b"x" * 100, b"x" * 5000])
def test_a_file_of_any_length_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "facts.db"
    path.write_bytes(content)
    with pytest.raises(StoreCorruptError, match="is not a knowledge store"):
        KnowledgeStore(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text('{"entity": "Acme"}\n')
    with pytest.raises(StoreCorruptError, match=r"is not a knowledge store: .*entity"):
        KnowledgeStore(path)
    assert path.read_text() == '{"entity": "Acme"}\n'


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist"])
def test_another_database_is_refused_and_left_as_it_is(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("CREATE TABLE facts (a)")
    connection.commit()
    connection.close()
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(StoreCorruptError, match="SQLite database, but not a knowledge store"):
        KnowledgeStore(path)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_none_is_made_where_none_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    with pytest.raises(StoreError, match="found no such file"):
        KnowledgeStore(path, create=False)
    assert not path.exists()
    path.touch()
    with pytest.raises(StoreError, match="found an empty file"):
        KnowledgeStore(path, create=False)
    assert path.stat().st_size == 0
    assert list(tmp_path.iterdir()) == [path]
    KnowledgeStore(path).close()
    with KnowledgeStore(path, create=False) as store:
        assert len(store) == 0


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    path.touch()
    with KnowledgeStore(path) as store:
        assert len(store) == 0


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    KnowledgeStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    content = path.read_bytes()
    with pytest.raises(StoreError, match="schema version 99"):
        KnowledgeStore(path)
    assert path.read_bytes() == content


def test_folders_are_no_stores(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder"):
        KnowledgeStore(tmp_path)
    with pytest.raises(StoreError, match="There is no folder"):
        KnowledgeStore(tmp_path / "none" / "facts.db")


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "facts.db"
    with KnowledgeStore(path) as store:
        store.add(Triple(f"entity {i}", "note", f"{i} " + "y" * 300) for i in range(500))
    assert path.stat().st_size > 200_000
    return path


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_cut_file_is_noticed(whole: Path, share: float) -> None:
    content = whole.read_bytes()
    whole.write_bytes(content[: int(share * len(content))])
    with pytest.raises(StoreCorruptError, match=r"damaged|not a knowledge store"):
        KnowledgeStore(whole).check()


def test_overwritten_pages_are_noticed(whole: Path) -> None:
    content = whole.read_bytes()
    choose = random.Random(3)
    for _ in range(8):
        start = choose.randrange(4096, len(content) - 600)
        whole.write_bytes(content[:start] + choose.randbytes(512) + content[start + 512 :])
        with pytest.raises(StoreCorruptError, match="damaged"), KnowledgeStore(whole) as store:
            store.check()


def test_a_damaged_schema_is_noticed_whatever_its_bytes(whole: Path) -> None:
    """SQLite quotes it in its messages, which are then no UTF-8."""
    content = whole.read_bytes()
    whole.write_bytes(content.replace(b"facts_property", b"facts_\x92roperty", 1))
    with pytest.raises(StoreCorruptError, match=r"damaged: malformed.*facts_\ufffdroperty"):
        KnowledgeStore(whole)


def test_facts_written_past_the_store_are_noticed(whole: Path) -> None:
    connection = sqlite3.connect(whole)
    connection.execute("UPDATE facts SET value = 'forged' WHERE row = 1")
    connection.commit()
    connection.close()
    with KnowledgeStore(whole) as store:
        with pytest.raises(StoreCorruptError, match="written by something else"):
            store.check()
        # The journal saw it all the same.
        assert store.sequence == 501


def test_damaged_metadata_is_noticed(whole: Path) -> None:
    connection = sqlite3.connect(whole)
    connection.execute("UPDATE facts SET metadata = '{' WHERE row = 1")
    connection.commit()
    connection.close()
    with KnowledgeStore(whole) as store:
        with pytest.raises(StoreCorruptError, match=r"fact '\w+' is damaged"):
            list(store)
        with pytest.raises(StoreCorruptError, match="damaged"):
            store.count(store.view(a=1))
