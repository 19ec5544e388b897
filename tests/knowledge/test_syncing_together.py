"""Several threads and processes that synchronise one store at once, while others read it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from kblam.knowledge import KnowledgeStore, Triple

# Of two states of 60 facts, 40 differ.
STATE = """
from kblam.knowledge import KnowledgeStore, Triple

def state(number):
    return [Triple("Acme", f"part {i}", f"value of {number if i % 3 else 0}",
                   id=f"fact {i}" if i % 2 else None) for i in range(60)]
"""
WRITER = """
with KnowledgeStore(sys.argv[1]) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for i in range(40):
        store.sync(state(1 + (i + int(sys.argv[2])) % 2))
"""
READER = """
import os
states = [{(fact.property, fact.value) for fact in state(number)} for number in (1, 2)]
seen = [0, 0]
with KnowledgeStore(sys.argv[1]) as store:
    print("ready", flush=True)
    while not os.path.exists(sys.argv[1] + ".stop"):
        found = {(fact.property, fact.value) for fact in store.triples()}
        seen[states.index(found)] += 1
assert sum(seen) > 5, seen
print("done", flush=True)
"""


def state(number: int) -> list[Triple]:
    names: dict = {}
    exec(STATE, names)
    return names["state"](number)


def test_processes_that_synchronise_one_store(
    tmp_path: Path, python: Callable[..., list[str]]
) -> None:
    path = tmp_path / "facts.db"
    with KnowledgeStore(path) as store:
        store.sync(state(1))
        processes = [
            subprocess.Popen(
                python(STATE + code, path, number),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number, code in enumerate([WRITER, WRITER, READER, READER])
        ]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes[:2]:
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes[:2]:
            process.communicate(timeout=120)
            assert process.returncode == 0
        whole = [{(f.property, f.value) for f in state(number)} for number in (1, 2)]
        assert {(fact.property, fact.value) for fact in store} in whole
        store.check()
        Path(f"{path}.stop").touch()
        for process in processes[2:]:
            assert process.communicate(timeout=120)[0] == "done\n"
            assert process.returncode == 0


def test_threads_that_synchronise_one_store(store: KnowledgeStore, embedder) -> None:
    states = [state(1), state(2)]
    whole = [{(fact.property, fact.value) for fact in facts} for facts in states]
    store.sync(states[0], encoder=embedder)
    faults: list[object] = []
    done = threading.Event()

    def write(start: int) -> None:
        try:
            for i in range(25):
                store.sync(states[(start + i) % 2], encoder=embedder)
        except Exception as error:
            faults.append(error)

    def read() -> None:
        try:
            while not done.is_set():
                if {(fact.property, fact.value) for fact in store.triples()} not in whole:
                    faults.append("half")
                vectors = store.vectors(embedder.name)
                if (len(vectors), vectors.pending) != (60, ()):
                    faults.append(vectors.pending)
        except Exception as error:
            faults.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert not faults
    store.check()


def test_two_stores_that_are_given_to_each_other_do_not_wait_for_each_other() -> None:
    with KnowledgeStore() as first, KnowledgeStore() as second:
        first.add([("Acme", "founder", "Ann")])
        second.add([("Acme", "founder", "Bo")])

        def give(store: KnowledgeStore, other: KnowledgeStore) -> None:
            for _ in range(50):
                store.add(other)
                store.sync(other)

        pairs = ((first, second), (second, first))
        threads = [threading.Thread(target=give, args=pair, daemon=True) for pair in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
