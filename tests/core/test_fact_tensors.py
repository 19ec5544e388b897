"""The copy of a store's vectors on a device: what a plain copy of all of them would be."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_kblam import FACTS, WordEncoder
from torch import Tensor

from kblam import KBLaM, _fact_tensors
from kblam._fact_tensors import DeviceCopy, FactTensors, mapped
from kblam._knowledge_base import KnowledgeBase
from kblam.attention import Int8Facts
from kblam.knowledge import FactVectors, KnowledgeStore, Triple, VectorForm
from kblam.knowledge import _vector_rows as vector_rows

CPU = torch.device("cpu")
QUESTION = "What is the office of Project Heron?"


def parts(tensors: FactTensors) -> list[Tensor]:
    both = (tensors.keys, tensors.values)
    return [
        tensor
        for facts in both
        for tensor in ((facts.codes, facts.scale) if isinstance(facts, Int8Facts) else (facts,))
    ]


def assert_same(one: FactTensors, other: FactTensors) -> None:
    for own, others in zip(parts(one), parts(other), strict=True):
        assert own.dtype == others.dtype
        torch.testing.assert_close(own, others, rtol=0, atol=0)


class Following:
    """A store that changes, and a copy that follows it."""

    def __init__(self, path: Path | Literal[":memory:"], form: VectorForm) -> None:
        self.store = KnowledgeStore(path, vectors=form)
        self.encoder = WordEncoder(dimension=6)
        self.copy = DeviceCopy(CPU)
        self.vectors: FactVectors | None = None
        self.lent: list[tuple[FactTensors, list[Tensor]]] = []
        self.made = 0

    def new(self) -> str:
        self.made += 1
        return f"new {self.made}"

    def change(self, kind: str, place: int) -> None:
        store, facts = self.store, list(self.store)
        fact = facts[place % len(facts)] if facts else None
        if kind == "add" or fact is None:
            store.add([(self.new(), "code", self.new()) for _ in range(1 + place % 3)])
        elif kind == "replace":
            store.upsert((fact.entity, fact.property, self.new()))
        elif kind == "remove":
            store.remove(id=fact.id)
        elif kind == "again":  # the same identifier in another row
            store.remove(id=fact.id)
            store.add([(self.new(), "code", "between"), fact])
        elif kind == "rename":  # another identifier in the same row
            store.upsert(Triple(fact.entity, fact.property, fact.value, id=self.new()))
        else:
            store.convert_vectors("int8" if store.vector_form == "half" else "half")

    def read(self) -> FactTensors:
        vectors = self.store.vectors(self.encoder.name, previous=self.vectors)
        tensors = self.copy.of(vectors, self.vectors)
        self.vectors = vectors
        return tensors


KINDS = ("add", "add", "replace", "replace", "remove", "again", "rename", "convert")
steps = st.tuples(
    st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 40)), max_size=4),
    st.sampled_from(("encode", "encode", "encode", "leave")),
    st.sampled_from(("hold", "release", "nothing")),
)


@given(
    st.lists(steps, max_size=10),
    st.sampled_from((":memory:", "file")),
    st.sampled_from(("half", "int8")),
    st.integers(0, 12),
)
@settings(deadline=None, max_examples=50)
def test_it_is_what_copying_everything_anew_gives(
    steps: list[tuple[list[tuple[str, int]], str, str]], place: str, form: VectorForm, first: int
) -> None:
    with pytest.MonkeyPatch.context() as patched, tempfile.TemporaryDirectory() as folder:
        patched.setattr(_fact_tensors, "_LEAST", 2)
        patched.setattr(_fact_tensors, "_BLOCK", 3)
        patched.setattr(vector_rows, "_LEAST_FILED", 1)
        following = Following(Path(folder, "facts.db") if place == "file" else ":memory:", form)
        with following.store as store:
            store.add([(f"item {i}", "code", str(i)) for i in range(first)])
            for changes, encode, hold in steps:
                for kind, number in changes:
                    following.change(kind, number)
                if encode == "encode":
                    store.encode(following.encoder)
                tensors = following.read()
                assert following.vectors is not None
                assert_same(tensors, mapped(following.vectors))
                if hold == "hold":
                    following.lent.append((tensors, [part.clone() for part in parts(tensors)]))
                elif hold == "release":
                    following.lent.clear()
                del tensors
                for held, were in following.lent:
                    for part, was in zip(parts(held), were, strict=True):
                        assert torch.equal(part, was)


@pytest.fixture(params=["half", "int8"])
def following(request: pytest.FixtureRequest) -> Iterator[Following]:
    """100 facts, read once."""
    made = Following(":memory:", request.param)
    with made.store as store:
        store.add([(f"item {i}", "code", str(i)) for i in range(100)])
        store.encode(made.encoder)
        made.read()
        yield made


def uploaded(following: Following, *changes: tuple[str, int]) -> int:
    before = following.copy.uploaded
    for kind, place in changes:
        following.change(kind, place)
    following.store.encode(following.encoder)
    following.read()
    return following.copy.uploaded - before


def test_what_goes_to_the_device_is_what_changed(following: Following) -> None:
    # Six numbers of two bytes, or of one and a factor; and eight bytes for each place.
    fact = 2 * (12 if following.store.vector_form == "half" else 10)
    assert following.copy.uploaded == 100 * fact
    assert uploaded(following, ("replace", 3)) == fact + 8
    assert uploaded(following, ("add", 0)) == fact + 8
    assert uploaded(following, ("add", 2), ("replace", 5), ("replace", 90)) == 5 * (fact + 8)
    assert uploaded(following, ("remove", 50)) == 8
    assert uploaded(following, ("remove", 7), ("replace", 1)) == fact + 3 * 8
    held = following.read()
    assert uploaded(following, ("replace", 3)) == fact + 2 * 8
    assert len(held.keys.shape) == 2


def addresses(tensors: FactTensors) -> list[int]:
    return [part.data_ptr() for part in parts(tensors)]


def test_what_changed_is_written_over_unless_somebody_reads_it(following: Following) -> None:
    here = addresses(following.read())
    for change in (("replace", 3), ("add", 1)):
        uploaded(following, change)
        assert addresses(following.read()) == here
    held = following.read()
    uploaded(following, ("replace", 3))
    assert not set(addresses(following.read())) & set(here)
    here = addresses(following.read())
    uploaded(following, ("replace", 3))
    assert addresses(following.read()) == here
    assert addresses(held) != here


def test_more_facts_than_there_is_room_for_are_no_copy_of_all(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_fact_tensors, "_LEAST", 0)
    following.copy = DeviceCopy(CPU)
    following.vectors = None
    following.read()
    before = following.copy.uploaded
    for _ in range(5):
        uploaded(following, ("add", 2))
    assert len(following.store) == 115
    assert following.copy.uploaded - before < before / 2
    assert_same(following.read(), mapped(following.vectors))


def test_a_change_that_failed_half_way_is_made_good(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved, calls = _fact_tensors._moved, []

    def fail(*given: object) -> Tensor:
        calls.append(given)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return moved(*given)

    with monkeypatch.context() as patched:
        patched.setattr(_fact_tensors, "_moved", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            uploaded(following, ("remove", 50))
    assert_same(following.read(), mapped(following.vectors))


def test_a_reading_that_the_copy_never_saw_is_not_taken_for_its_own(following: Following) -> None:
    first = following.vectors
    for place in (3, 4):
        following.change("replace", place)
        following.store.encode(following.encoder)
        before, following.vectors = (
            following.vectors,
            following.store.vectors(following.encoder.name, previous=following.vectors),
        )
    assert before is not first
    assert_same(following.copy.of(following.vectors, before), mapped(following.vectors))


def test_a_copy_made_in_inference_mode_can_be_changed_outside_of_it(following: Following) -> None:
    following.copy = DeviceCopy(CPU)
    following.vectors = None
    with torch.inference_mode():
        following.read()
    uploaded(following, ("replace", 3))
    assert_same(following.read(), mapped(following.vectors))


class TestKnowledgeBase:
    @pytest.fixture
    def base(self, load: Callable[..., KBLaM], store: KnowledgeStore) -> Iterator[KnowledgeBase]:
        """Of a model that reads a copy, as on a GPU."""
        model = load("copying").attach(store)
        base = model._attached[0]
        assert base is not None
        base._copy = DeviceCopy(CPU)
        base.model = model  # kept with it
        return base

    def test_answers_are_of_the_changed_facts(
        self, base: KnowledgeBase, store: KnowledgeStore
    ) -> None:
        assert base.model.ask(QUESTION).text == "Ljubljana"
        gc.collect()
        here, all_facts = addresses(base.read().tensors), base._copy.uploaded
        store.upsert(("Project Heron", "office", "Maribor"))
        assert base.model.ask(QUESTION).text == "Maribor"
        # The first answer is over: its facts were written over.
        assert addresses(base.read().tensors) == here
        store.remove(entity="Aurora")
        assert base.model.ask(QUESTION).text == "Maribor"
        assert base._copy.uploaded < 1.3 * all_facts
        view = store.view(entity="Borealis")
        asked = "What is the budget of Borealis?"
        assert base.model.ask(asked, view=view).text == "48200 euros"
        store.convert_vectors("int8")
        assert base.model.ask(QUESTION).text == "Maribor"
        assert isinstance(base.read().keys, Int8Facts)

    def test_facts_that_are_read_stay_as_they_are(
        self, base: KnowledgeBase, store: KnowledgeStore
    ) -> None:
        with base.reading([None]) as seen:
            were = [part.clone() for part in parts(seen.facts.tensors)]
            for value in ("Maribor", "Koper"):
                store.upsert(("Project Heron", "office", value))
                later = base.read()
            assert len(later) == len(FACTS)
            assert all(map(torch.equal, parts(seen.facts.tensors), were))
            assert not torch.equal(later.values, seen.facts.values)

    def test_a_change_that_failed_is_made_good(
        self, base: KnowledgeBase, store: KnowledgeStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        base.read()
        store.upsert(("Project Heron", "office", "Maribor"))
        with monkeypatch.context() as patched:
            patched.setattr(Tensor, "index_copy_", None)
            with pytest.raises(TypeError):
                base.read()
        assert base.model.ask(QUESTION).text == "Maribor"
        assert_same(base.read().tensors, mapped(base.read().vectors))


def test_on_a_cpu_nothing_is_copied(copying: KBLaM) -> None:
    facts = copying._attached[0].read()
    assert facts.keys.data_ptr() == facts.vectors.keys.__array_interface__["data"][0]
    assert facts.values.data_ptr() == facts.vectors.values.__array_interface__["data"][0]
