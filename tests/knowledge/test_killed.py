"""A process that is killed while it synchronises a store: all of a change, or nothing of it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from kblam.knowledge import KnowledgeStore

pytestmark = pytest.mark.long

KILLS = 50
# Enough for a file of vectors beside the store.
FACTS = 4100

# What the killed process and the one that looks at what it left have in common: two states of a
# source that have most facts in common, and an encoder whose vectors tell the text.
STATES = """
from hashlib import blake2b

import numpy as np
from kblam.knowledge import Triple

def state(number):
    for i in range(FACTS):
        mine = number if i % 7 == 0 else 0
        yield Triple(f"entity {i // 3}", f"part {i % 3}", f"value {i} in {mine}",
                     id=f"fact {i}" if i % 14 == 0 else None,
                     metadata={"state": number} if i % 35 == 0 else {})
    for i in range(100 * number):
        yield Triple(f"entity {i}", f"extra of {number}", f"more {i}")

class Embedder:
    name, dimension = "bytes", 8
    def encode(self, texts):
        made = b"".join(blake2b(text.encode(), digest_size=8).digest() for text in texts)
        return np.frombuffer(made, np.uint8).reshape(-1, 8).astype(np.float32)
"""
# Starts a process for each line that names a store; a forked one is there at once.
WRITERS = """
import os
from kblam.knowledge import KnowledgeStore

def write(path, number):
    store = KnowledgeStore(path)
    while True:
        store.sync(state(number), encoder=Embedder())
        store.vectors("bytes")
        number = 3 - number

for line in sys.stdin:
    path, number = line.split()
    child = os.fork()
    if child == 0:
        write(path, int(number))
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@pytest.fixture(scope="module")
def made() -> dict[str, object]:
    names: dict[str, object] = {"FACTS": FACTS}
    exec(STATES, names)
    return names


def digest(store: KnowledgeStore) -> str:
    return store.fingerprint.partition("-")[0]


@pytest.fixture
def killed(python: Callable[..., list[str]]) -> Iterator[Callable[[Path, int, float], None]]:
    """Lets a process write to a store for so many seconds, and kills it."""
    code = f"FACTS = {FACTS}\n{STATES}{WRITERS}"
    with subprocess.Popen(
        python(code), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writers:
        assert writers.stdin is not None
        assert writers.stdout is not None

        def killed(path: Path, number: int, seconds: float) -> None:
            writers.stdin.write(f"{path} {number}\n")
            writers.stdin.flush()
            process = int(writers.stdout.readline())
            time.sleep(seconds)
            os.kill(process, signal.SIGKILL)
            assert int(writers.stdout.readline()) == -signal.SIGKILL  # it had not ended before

        yield killed
        writers.stdin.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_whenever_it_is_killed_a_store_holds_one_state(
    tmp_path: Path, killed: Callable[[Path, int, float], None], made: dict
) -> None:
    states = {}
    for number in (1, 2):
        with KnowledgeStore.from_source(made["state"](number)) as store:
            states[digest(store)] = number
    choose, embedder = random.Random(11), made["Embedder"]()
    left: list[int] = []
    paths = [tmp_path / f"{number}.db" for number in range(5)]
    for path in paths[1:]:  # the first is to be created as well
        with KnowledgeStore(path) as store:
            store.sync(made["state"](1), encoder=embedder)
            started = time.perf_counter()
            store.sync(made["state"](2))
            usual = time.perf_counter() - started
    for kill in range(KILLS):
        path = paths[kill // 10]
        killed(path, choose.choice([1, 2]), choose.uniform(0, 4 * usual))
        with KnowledgeStore(path) as store:
            store.check()
            found = digest(store)
            # Only a store that nothing was ever written to may be empty.
            assert found in states or (len(store) == 0 and store.sequence == 0)
            left.append(states.get(found, 0))
            expect_own_vectors(store, embedder)
    assert {1, 2} <= set(left)


def expect_own_vectors(store: KnowledgeStore, embedder: object) -> None:
    """Every fact has the vectors of its texts, or is known to have none yet."""
    vectors = store.vectors("bytes")
    assert len(vectors) + len(vectors.pending) == len(store)
    facts = store.get_many(vectors.fact_ids) if len(vectors) else []
    for texts, found in (
        ([fact.key_text for fact in facts], vectors.keys),
        ([fact.value_text for fact in facts], vectors.values),
    ):
        assert not texts or np.array_equal(embedder.encode(texts), found)
