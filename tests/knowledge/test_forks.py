"""Processes that are forked while a store is open."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kblam.knowledge import KnowledgeStore

Command = Callable[..., list[str]]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

START = """
import os, threading
from kblam.errors import StoreError
from kblam.knowledge import KnowledgeStore

store = KnowledgeStore(sys.argv[1])
store.add(("parent", "step", "1"))

def forked(work):
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    return child

def succeeded(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def run(python: Command, code: str, *arguments: object) -> None:
    done = subprocess.run(
        python(START + code, *arguments), check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_what_a_pool_adds_stays_when_its_parent_closes(tmp_path: Path, python: Command) -> None:
    code = """
import multiprocessing

def add(number):
    return store.add(("child", "step", str(number)))

with multiprocessing.get_context("fork").Pool(3) as pool:
    added = pool.imap_unordered(add, range(20), chunksize=1)
    total = next(added)
    store.close()
    total += sum(added)
    pool.close()
    pool.join()
assert total == 20, total
"""
    path = tmp_path / "facts.db"
    run(python, code, path)
    with KnowledgeStore(path) as store:
        assert len(store) == 21
        store.check()


def test_parent_and_child_write_in_turns(tmp_path: Path, python: Command) -> None:
    code = """
asked, ask = os.pipe()
told, tell = os.pipe()

def work():
    for number in range(3):
        assert os.read(asked, 1) == b"x"
        assert len(store) == 2 * number + 1
        store.add(("child", "step", str(number)))
        os.write(tell, b"x")
    store.close()

child = forked(work)
for number in range(3):
    os.write(ask, b"x")
    assert os.read(told, 1) == b"x"
    assert len(store) == 2 * number + 2
    store.add(("parent", "turn", str(number)))
assert succeeded(child)
assert len(store) == 7
store.check()
"""
    run(python, code, tmp_path / "facts.db")


def test_a_store_in_use_is_of_no_use_in_the_child(tmp_path: Path, python: Command) -> None:
    code = """
path, other = sys.argv[1], sys.argv[1] + ".other"
reading, forking = threading.Event(), threading.Event()

def read():
    with store.snapshot():
        reading.set()
        forking.wait()

thread = threading.Thread(target=read)
thread.start()
reading.wait()

def work():
    # Nor is it safe to open its file here once more.
    for use in (lambda: len(store), lambda: KnowledgeStore(path)):
        try:
            use()
        except StoreError as error:
            assert "in use when this process was forked" in str(error), error
        else:
            raise AssertionError("it was not refused")
    KnowledgeStore(other).close()

child = forked(work)
forking.set()
thread.join()
assert succeeded(child)
store.add(("parent", "step", "2"))
assert len(store) == 2
assert succeeded(forked(lambda: store.add(("child", "step", "1"))))
assert len(store) == 3
store.check()
"""
    run(python, code, tmp_path / "facts.db")


def test_a_child_that_unwinds_leaves_its_parents_write_alone(
    tmp_path: Path, python: Command
) -> None:
    code = """
class Forking:
    child = None
    def count(self):
        return None
    def triples(self):
        for number in range(3000):  # more than SQLite keeps in memory, so that some is written
            yield (f"entity {number}", "text", "x" * 2000)
        Forking.child = os.fork()
        if Forking.child == 0:
            raise SystemExit(0)
        assert succeeded(Forking.child)

try:
    store.add(Forking())
finally:
    if Forking.child == 0:
        os._exit(0)
assert len(store) == 3001
store.check()
store.close()
with KnowledgeStore(sys.argv[1]) as again:
    assert len(again) == 3001
    again.check()
"""
    run(python, code, tmp_path / "facts.db")


def test_a_store_in_memory_is_copied(python: Command) -> None:
    code = """
def work():
    store.add(("child", "step", "1"))
    assert len(store) == 2

assert succeeded(forked(work))
assert len(store) == 1
store.add(("parent", "step", "2"))
store.check()
"""
    run(python, code, ":memory:")
