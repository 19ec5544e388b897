"""Facts that change while they are read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_kblam import FACTS

from kblam.config import GenerationOptions
from kblam.errors import SourceError, StaleFactsWarning
from kblam.knowledge import KnowledgeStore, SyncReport, Triple
from kblam.model import KBLaM

QUESTION = "What is the office of Project Heron?"
OTHERS = [fact for fact in FACTS if fact[2] != "Ljubljana"]
MOVED = [*OTHERS, ("Project Heron", "office", "Trieste")]


class Offices:
    """A source whose facts are replaced as a whole, and which may fail."""

    def __init__(self) -> None:
        self.facts = list(FACTS)
        self.fails = False

    def triples(self) -> Iterator[Triple]:
        if self.fails:
            raise TimeoutError("no answer in 30 s")
        yield from (Triple(*fact) for fact in self.facts)

    def count(self) -> int | None:
        return None


@pytest.fixture(params=["memory", "file"])
def followed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KnowledgeStore]:
    path = ":memory:" if request.param == "memory" else tmp_path / "facts.db"
    with KnowledgeStore(path) as opened:
        yield opened


@pytest.fixture
def meanwhile(load) -> Iterator[Callable[[KBLaM, Callable[[], object]], None]]:
    """Does something once, when the next generation has begun."""
    hooks = []

    def register(model: KBLaM, act: Callable[[], object]) -> None:
        def begun(*_: object) -> None:
            hook.remove()
            act()

        hook = model.base.register_forward_pre_hook(begun)
        hooks.append(hook)

    yield register
    for hook in hooks:
        hook.remove()


def change(how: str, store: KnowledgeStore) -> None:
    if how == "removed":
        store.remove(entity="Project Heron", property="office")
    elif how == "upserted":
        store.upsert([("Project Heron", "office", "Trieste")])
    elif how == "emptied":
        store.sync([], allow_empty=True)
    else:
        store.sync(MOVED)


@pytest.mark.parametrize("how", ["removed", "upserted", "synchronised", "emptied"])
def test_a_generation_keeps_the_facts_it_began_with(load, followed, meanwhile, how: str) -> None:
    followed.add(FACTS)
    model = load("copying").attach(followed)
    assert model.ask(QUESTION).text == "Ljubljana"
    before = followed.fingerprint
    meanwhile(model, lambda: change(how, followed))
    stream = model.stream(QUESTION)
    assert "".join(stream) == "Ljubljana"
    assert followed.fingerprint != before
    assert stream.answer.kb_fingerprint == before
    assert [c.fact.value for c in stream.answer.citations] == ["Ljubljana"]
    assert stream.answer.facts[0].fact.value == "Ljubljana"
    # The next answer knows.
    if how in ("upserted", "synchronised"):
        answer = model.ask(QUESTION)
        assert answer.text == "Trieste"
        assert answer.kb_fingerprint == followed.fingerprint
    else:
        assert "Ljubljana" not in [ranked.fact.value for ranked in model.ask(QUESTION).facts]


def test_a_batch_keeps_the_facts_it_began_with(load, followed, meanwhile) -> None:
    followed.add(FACTS)
    model = load("copying").attach(followed)
    model.ask(QUESTION)
    meanwhile(model, lambda: followed.sync(MOVED))
    assert [a.text for a in model.ask_batch([QUESTION] * 3)] == ["Ljubljana"] * 3
    assert [a.text for a in model.ask_batch([QUESTION] * 3)] == ["Trieste"] * 3


def test_nothing_of_the_past_is_kept_once_nobody_reads_it(load) -> None:
    with KnowledgeStore.from_source(FACTS) as store:
        with store.snapshot() as then, store.snapshot() as same:
            store.sync(MOVED)
            store.remove(entity="Project Heron")
            ids = [fact.id for fact in KnowledgeStore.from_source(FACTS)]
            for snapshot in (then, same):
                assert [fact.value for fact in snapshot.get_many(ids)] == [v for *_, v in FACTS]
            with store.snapshot() as now:
                assert now.get_many(ids)[-1] is None
                assert now.fingerprint == store.fingerprint != then.fingerprint
        with store._database.read() as connection:
            assert connection.execute("SELECT count(*) FROM past").fetchone() == (0,)


def test_answers_while_a_source_is_followed_are_of_one_state_each(load, followed) -> None:
    source = Offices()
    followed.follow(source, every=0.002)
    model = load("copying").attach(followed)
    model.ask(QUESTION)
    offices = ["Ljubljana"]
    done = threading.Event()

    def write() -> None:
        while not done.wait(0.003):
            offices.append(f"Office {len(offices)}")
            source.facts = [*OTHERS, ("Project Heron", "office", offices[-1])]

    writer = threading.Thread(target=write)
    writer.start()
    try:
        said = []
        for _ in range(25):
            answer = model.ask(QUESTION)
            # What is said stands in the fact that is cited, whatever became of it since.
            assert [c.fact.value for c in answer.citations] == [answer.text]
            said.append(offices.index(answer.text))
    finally:
        done.set()
        writer.join()
    assert said == sorted(said)
    assert len(set(said)) > 2


@pytest.mark.parametrize("every", [None, 0.01])
def test_a_source_that_fails_fails_answers_unless_told(load, followed, every) -> None:
    source = Offices()
    followed.follow(source, every=every)
    model = load("copying").attach(followed)
    source.fails = True
    if every:
        while followed.following.error is None:
            pass
    with pytest.raises(SourceError, match="no answer in 30 s"):
        model.ask(QUESTION)
    source.fails = False
    assert followed.follow(source, every=every, on_error="warn") == SyncReport()
    source.fails = True
    if every:
        while followed.following.error is None:
            pass
    with pytest.warns(StaleFactsWarning, match="no answer in 30 s"):
        assert model.ask(QUESTION).text == "Ljubljana"
    source.fails = False


def test_a_long_stream_goes_on_while_facts_change(load, followed) -> None:
    followed.add(FACTS)
    model = load("rambling").attach(followed)
    options = GenerationOptions(max_new_tokens=24)
    whole = model.ask(QUESTION, options)
    stream = model.stream(QUESTION, options)
    pieces = [next(stream)]
    followed.sync(MOVED)
    followed.sync(OTHERS)
    pieces.extend(stream)
    assert "".join(pieces) == whole.text
    assert stream.answer.facts == whole.facts
