"""A store that is kept in step in the background."""

from __future__ import annotations

import gc
import math
import os
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kblam.errors import ConfigError, SourceError, StaleFactsWarning, UnsupportedSourceError
from kblam.knowledge import Following, KnowledgeStore, SyncReport, Triple

Command = Callable[..., list[str]]


class Feed:
    """A source that cannot tell whether it changed, and fails when told to."""

    def __init__(self, *values: str) -> None:
        self.values = list(values)
        self.reads = 0
        self.broken: Exception | None = None
        self.pause = 0.0

    def triples(self) -> Iterator[Triple]:
        self.reads += 1
        if self.broken is not None:
            raise self.broken
        for value in list(self.values):
            time.sleep(self.pause)
            yield Triple("Acme", "product", value)

    def count(self) -> int | None:
        return None


def until(true: Callable[[], Any], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.005)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "kblam-follow"]


def values(store: KnowledgeStore) -> list[str]:
    return [fact.value for fact in store]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    gc.collect()
    until(lambda: not threads())


def test_a_source_is_read_in_the_background(store: KnowledgeStore) -> None:
    feed = Feed("anvils")
    assert store.follow(feed, every=0.01) == SyncReport(added=1)
    assert store.source is feed
    feed.values = ["anvils", "rockets"]
    until(lambda: values(store) == ["anvils", "rockets"])
    until(lambda: store.following.report == SyncReport(added=1))
    assert store.following.every == 0.01
    assert store.following.error is None
    assert abs(store.following.synced_at - time.time()) < 20
    store.unfollow()
    reads = feed.reads
    time.sleep(0.05)
    assert feed.reads == reads
    assert store.following is None
    assert store.source is None
    assert not threads()
    assert len(store) == 2


def test_an_answer_does_not_wait_for_a_source_that_is_read_in_the_background(store) -> None:
    feed = Feed("anvils")
    store.follow(feed, every=3600)
    assert store.catch_up() == SyncReport()
    assert feed.reads == 1
    feed.values = ["rockets"]
    assert store.refresh() == SyncReport(added=1, removed=1)  # by hand: now
    assert feed.reads == 2


def test_a_source_is_read_before_each_answer_or_only_when_told(store: KnowledgeStore) -> None:
    feed = Feed("anvils")
    store.follow(feed)
    store.catch_up()
    assert feed.reads == 2
    store.follow(feed, every=math.inf)
    store.catch_up()
    assert feed.reads == 3
    assert not threads()
    store.refresh()
    assert feed.reads == 4


@pytest.mark.parametrize("every", [0, -1, math.nan, 1e10, 10**400])
def test_settings_are_checked(store: KnowledgeStore, every: float) -> None:
    with pytest.raises(ConfigError, match="every"):
        store.follow(Feed("anvils"), every=every)
    with pytest.raises(ConfigError, match="on_error"):
        store.follow(Feed("anvils"), on_error="ignore")
    for kb in ([("Acme", "product", "anvils")], {}, "facts.jsonl"):
        with pytest.raises(UnsupportedSourceError, match=r"got \w+\. .*as_store"):
            store.follow(kb)
    assert store.following is None


def test_what_fails_in_the_background_is_told_and_tried_again(store: KnowledgeStore) -> None:
    feed = Feed("anvils")
    store.follow(feed, every=0.01)
    feed.broken = ConnectionError("refused")
    until(lambda: store.following.failures >= 2)
    assert isinstance(store.following.error, SourceError)
    for _ in range(2):
        with pytest.raises(SourceError, match=r"may be out of date.*read at 2.*refused.*on_error"):
            store.catch_up()
    assert values(store) == ["anvils"]
    feed.broken, feed.values = None, ["rockets"]
    until(lambda: store.following.error is None)
    assert values(store) == ["rockets"]
    assert store.following.failures == 0
    store.catch_up()


def test_pauses_grow_while_a_source_fails(store: KnowledgeStore) -> None:
    feed = Feed("anvils")
    store.follow(feed, every=0.01)
    feed.broken = ConnectionError("refused")
    until(lambda: store.following.failures >= 1)
    before = feed.reads
    time.sleep(0.3)
    assert feed.reads - before < 8  # after 0.02, 0.04, 0.08, 0.16 s; 30 without growing


@pytest.mark.parametrize("every", [None, 0.01])
def test_answers_may_go_on_from_what_is_there(store: KnowledgeStore, every: float | None) -> None:
    feed = Feed("anvils")
    store.follow(feed, every=every, on_error="warn")
    feed.broken = ConnectionError("refused")
    if every is not None:
        until(lambda: store.following.failures)
    with pytest.warns(StaleFactsWarning, match="refused"):
        assert store.catch_up() == SyncReport()
    with pytest.raises(SourceError, match="refused"):
        store.refresh()
    assert store.following.failures >= 1
    assert values(store) == ["anvils"]


def test_a_source_that_fails_at_first_is_not_followed(store: KnowledgeStore) -> None:
    feed = Feed("anvils")
    feed.broken = ConnectionError("refused")
    with pytest.raises(SourceError, match="refused"):
        store.follow(feed, every=0.01)
    assert store.following is None
    assert not threads()


def test_closing_stops_a_reading_in_the_middle(tmp_path: Path) -> None:
    feed = Feed("anvils")
    store = KnowledgeStore(tmp_path / "facts.db")
    store.follow(feed, every=0.01)
    feed.values, feed.pause = [str(i) for i in range(10_000)], 0.005
    until(lambda: feed.reads > 1)
    started = time.monotonic()
    store.close()
    assert time.monotonic() - started < 2
    assert not threads()
    with KnowledgeStore(tmp_path / "facts.db") as opened:
        assert values(opened) == ["anvils"]
        opened.check()


def test_following_another_source_ends_the_first(store: KnowledgeStore) -> None:
    first, second = Feed("anvils"), Feed("rockets")
    store.follow(first, every=0.01)
    assert store.follow(second, every=0.01) == SyncReport(added=1, removed=1)
    reads = first.reads
    until(lambda: second.reads > 3)
    assert first.reads == reads
    assert len(threads()) == 1


def test_a_store_that_is_dropped_is_not_kept_alive() -> None:
    store = KnowledgeStore()
    store.follow(Feed("anvils"), every=0.01)
    dropped = weakref.ref(store)
    del store
    until(lambda: gc.collect() is not None and dropped() is None)


def test_what_is_new_is_embedded_before_it_can_be_read(store, embedder) -> None:
    feed = Feed("anvils")
    assert store.follow(feed, every=0.005, encoder=embedder).embedded == 1
    vectors = store.vectors(embedder.name)
    for number in range(5):
        feed.values.append(f"rocket {number}")
        until(lambda: len(store) == len(feed.values))
        vectors = store.vectors(embedder.name, previous=vectors)
        assert vectors.pending == ()
        assert len(vectors) == len(feed.values)
    store.unfollow()
    store.check()


def test_an_encoder_that_nobody_else_keeps_goes_on(store, new_embedder) -> None:
    feed = Feed("anvils")
    store.follow(feed, every=math.inf, encoder=new_embedder())
    gc.collect()
    feed.values = ["rockets"]
    assert store.refresh().embedded == 1
    assert store.vectors("hash-8").pending == ()


def test_the_state_of_a_store_that_follows_nothing(store: KnowledgeStore) -> None:
    assert store.following is None
    assert store.catch_up() == SyncReport()
    store.unfollow()
    assert Following(None).report == SyncReport()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_follows_by_itself(
    tmp_path: Path, python: Callable[..., list[str]]
) -> None:
    code = """
import os, time
from kblam.knowledge import KnowledgeStore, JsonlSource
path, store = sys.argv[1], KnowledgeStore(sys.argv[2])
store.follow(JsonlSource(path), every=0.02)
child = os.fork()
if child == 0:
    store.catch_up()
    with open(path, "a") as file:
        file.write('{"entity": "Acme", "property": "founder", "value": "Bo"}\\n')
    end = time.monotonic() + 20
    while len(store) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    os._exit(len(store))
store.unfollow()
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 2
"""
    path = tmp_path / "facts.jsonl"
    path.write_text('{"entity": "Acme", "property": "founder", "value": "Ann"}\n')
    subprocess.run(python(code, path, tmp_path / "facts.db"), check=True, timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_process_may_be_forked_in_the_middle_of_a_reading(
    tmp_path: Path, python: Command
) -> None:
    code = """
import os, time
from kblam.knowledge import KnowledgeStore, Triple
class Slow:
    pause, reads = 0, 0
    def triples(self):
        self.reads += 1
        time.sleep(self.pause)
        yield Triple("Acme", "read", str(self.reads))
    def count(self):
        return None
source, store = Slow(), KnowledgeStore(sys.argv[1])
store.follow(source, every=0.01)
source.pause = 2
while source.reads < 2:
    time.sleep(0.001)
child = os.fork()
if child == 0:
    source.pause = 0
    os._exit(not store.refresh())
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
store.close()
"""
    subprocess.run(python(code, tmp_path / "facts.db"), check=True, timeout=60)


def test_a_process_ends_while_it_follows(tmp_path: Path, python: Command) -> None:
    code = """
from kblam.knowledge import KnowledgeStore, Triple
import time
class Slow:
    def triples(self):
        for i in range(10**6):
            time.sleep(0.001 * (i > 0))
            yield Triple("Acme", "part", str(i))
            if self.first:
                self.first = False
                return
    def count(self):
        return None
    first = True
store = KnowledgeStore(sys.argv[1])
store.follow(Slow(), every=0.001)
time.sleep(0.1)
print("end")
"""
    started = time.monotonic()
    done = subprocess.run(
        python(code, tmp_path / "facts.db"), check=True, timeout=60, capture_output=True, text=True
    )
    assert done.stdout == "end\n"
    assert done.stderr == ""
    assert time.monotonic() - started < 20
