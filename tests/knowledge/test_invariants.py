"""Whatever is done to a store, it agrees with a plain model of it."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kblam.knowledge import (
    Fact,
    FactVectors,
    KnowledgeStore,
    ListSource,
    Triple,
    VectorForm,
    unpacked,
)
from kblam.knowledge._words import property_key

entities = st.sampled_from(["Acme", "Borealis", "Cirrus"])
properties = st.sampled_from(["founder", "hasProduct", "product"])
values = st.sampled_from(["Ann", "Bo", "anvils", "rockets"])
metadata = st.sampled_from([{}, {"team": "red"}, {"team": "blue"}])
named = st.one_of(st.none(), st.sampled_from(["1", "2"]))
triples = st.builds(Triple, entities, properties, values, metadata=metadata)
any_triples = st.builds(Triple, entities, properties, values, id=named, metadata=metadata)


class Embedder:
    """Embeds a text as two numbers of its hash."""

    name, dimension = "pair", 2

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, texts: list[str]) -> np.ndarray:
        self.seen.extend(texts)
        return np.array([vector(text) for text in texts], np.float32).reshape(-1, 2)


def vector(text: str) -> np.ndarray:
    angle = int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big")
    return np.array([np.cos(angle), np.sin(angle)], np.float32)


def key(triple: Triple) -> tuple[str, str, str]:
    return triple.entity, triple.property, triple.value


def named(content: tuple[str, str, str]) -> tuple[str, str]:
    """What an upsert replaces: a property is one by its words, however it is spelled."""
    return content[0], property_key(content[1])


class StoreMachine(RuleBasedStateMachine):
    """A store in memory beside the set of what it must say."""

    form: VectorForm = "half"

    def __init__(self) -> None:
        super().__init__()
        self.store = KnowledgeStore(vectors=self.form)
        self.model: dict[tuple[str, str, str], dict[str, str]] = {}
        self.embedder = Embedder()
        self.red = self.store.view(team="red")
        self.vectors: dict[bool, FactVectors | None] = {False: None, True: None}
        self.fingerprints = {self.store.fingerprint: 0}

    @rule(added=st.lists(triples, max_size=4))
    def add(self, added: list[Triple]) -> None:
        before = len(self.model)
        for triple in added:
            self.model.setdefault(key(triple), dict(triple.metadata))
        assert self.store.add(added) == len(self.model) - before

    @rule(new=st.lists(triples, max_size=3))
    def upsert(self, new: list[Triple]) -> None:
        touched = {named(key(triple)) for triple in new}
        for content in [content for content in self.model if named(content) in touched]:
            del self.model[content]
        # Of one value under two spellings of the property, the last is kept.
        for triple in {(*named(key(t)), t.value): t for t in new}.values():
            self.model[key(triple)] = dict(triple.metadata)
        self.store.upsert(new)

    @rule(new=any_triples)
    def upsert_by_id(self, new: Triple) -> None:
        old = self.store.get(new.id) if new.id else None
        self.store.upsert(new)
        if new.id is None:
            self.model = {c: m for c, m in self.model.items() if named(c) != named(key(new))}
        elif old is not None:
            del self.model[key(old)]
        self.model[key(new)] = dict(new.metadata)
        if new.id is not None:
            assert self.store.get(new.id) == Fact(*key(new), new.id, new.metadata)

    @rule(entity=st.none() | entities, name=st.none() | properties)
    def remove(self, entity: str | None, name: str | None) -> None:
        if entity is None and name is None:
            return
        gone = [c for c in self.model if entity in (None, c[0]) and name in (None, c[1])]
        for content in gone:
            del self.model[content]
        assert self.store.remove(entity=entity, property=name) == len(gone)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove_by_id(self, data: st.DataObject) -> None:
        fact = data.draw(st.sampled_from(sorted(self.store, key=lambda fact: fact.id)))
        assert self.store.remove(id=fact.id) == 1
        del self.model[key(fact)]

    @rule(source=st.lists(any_triples, max_size=6, unique_by=lambda triple: triple.id or triple))
    def synchronise(self, source: list[Triple]) -> None:
        wanted: dict[tuple[str, str, str], Triple] = {}
        for triple in source:
            wanted.setdefault(key(triple), triple)
        names = {fact.id for fact in self.store}
        report = self.store.sync(ListSource(source))
        if not names & {"1", "2"} and not any(triple.id for triple in source):
            assert report.added == len(wanted.keys() - self.model.keys())
            assert report.removed == len(self.model.keys() - wanted.keys())
        for triple in wanted.values():
            assert triple.id is None or key(self.store.get(triple.id)) == key(triple)
        assert not self.store.sync(ListSource(source))
        self.model = {content: dict(triple.metadata) for content, triple in wanted.items()}

    def encode(self) -> None:
        self.store.encode(self.embedder)
        assert self.store.encode(self.embedder) == 0
        assert len(self.store.vectors("pair")) == len(self.model)

    @rule(red=st.booleans(), encode=st.booleans())
    def read_vectors(self, red: bool, encode: bool) -> None:
        if encode:
            self.encode()
        view = self.red if red else None
        patched = self.store.vectors("pair", view, previous=self.vectors[red])
        anew = self.store.vectors("pair", view)
        assert patched.fact_ids == anew.fact_ids
        assert sorted(patched.pending) == sorted(anew.pending)
        assert patched.fingerprint == anew.fingerprint == self.store.fingerprint
        np.testing.assert_array_equal(patched.rows, anew.rows)
        np.testing.assert_array_equal(patched.keys, anew.keys)
        np.testing.assert_array_equal(patched.values, anew.values)
        for row, fact in enumerate(self.store.get_many(patched.fact_ids)):
            assert fact is not None
            self.expect(patched.keys[row : row + 1], vector(fact.key_text))
            self.expect(patched.values[row : row + 1], vector(fact.value_text))
        self.vectors[red] = patched

    def expect(self, kept: np.ndarray, exact: np.ndarray) -> None:
        """What is kept is what the encoder gave, as far as the store's form can tell."""
        np.testing.assert_array_equal(kept[0], exact.astype("f2"))

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert {key(fact): dict(fact.metadata) for fact in self.store} == self.model
        assert len(self.store) == len(self.model)
        red = [c for c, m in self.model.items() if m.get("team") == "red"]
        assert sorted(map(key, self.store.facts(self.red))) == sorted(red)

    @invariant()
    def is_sound(self) -> None:
        self.store.check()
        alive: set[str] = set()
        for change in self.store.journal():
            (alive.discard if change.op == "remove" else alive.add)(change.fact_id)
        assert alive == {fact.id for fact in self.store}

    @invariant()
    def fingerprint_tells_states_apart(self) -> None:
        sequence = self.store.sequence
        assert self.fingerprints.setdefault(self.store.fingerprint, sequence) == sequence

    def teardown(self) -> None:
        self.store.close()


class Int8Machine(StoreMachine):
    """A store that keeps int8, and may be converted at any time."""

    form: VectorForm = "int8"

    @rule(form=st.sampled_from(["half", "int8"]))
    def convert(self, form: VectorForm) -> None:
        seen = len(self.embedder.seen)
        assert self.store.convert_vectors(form) == (form != self.form)
        self.form = form
        assert len(self.embedder.seen) == seen

    def expect(self, kept: np.ndarray, exact: np.ndarray) -> None:
        np.testing.assert_allclose(unpacked(kept)[0], exact, atol=6e-3)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestInt8Store = Int8Machine.TestCase
TestInt8Store.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
