"""Answers over so many facts that an index finds them."""

from __future__ import annotations

import pytest
from tiny_kblam import FACTS

from kblam import _knowledge_base
from kblam.config import GenerationOptions
from kblam.knowledge import KnowledgeStore
from kblam.model import KBLaM

pytest.importorskip("faiss")

SHORT = GenerationOptions(max_new_tokens=12)
MANY = 600


@pytest.fixture
def indexed(copying: KBLaM, monkeypatch: pytest.MonkeyPatch) -> KBLaM:
    """The model over many facts, once their index is built."""
    monkeypatch.setattr(_knowledge_base, "_INDEX_FROM", MANY // 2)
    facts = [(f"Project {i} {i * 7919 % 101}", "code", f"value {i}") for i in range(MANY)]
    model = copying.with_options().attach(KnowledgeStore.from_source([*FACTS, *facts]))
    model.ask("What is the code of Project 1 41?", SHORT)
    base = model._attached[0]
    assert base is not None
    assert base.wait_for_index(60)
    assert base.candidates(base.read()) is not None
    return model


def test_what_an_index_finds_is_answered_as_what_a_scan_finds(
    copying: KBLaM, indexed: KBLaM
) -> None:
    scanned = copying.with_options().attach(KnowledgeStore.from_source(list(indexed.store)))
    for entity, name, value in FACTS:
        question = f"What is the {name} of {entity}?"
        answer, expected = indexed.ask(question, SHORT), scanned.ask(question, SHORT)
        assert answer.text == expected.text == value
        assert answer.facts[0].fact.value == value
        assert answer.citations[0].fact.value == value


def test_a_changed_fact_is_in_the_next_answer(indexed: KBLaM) -> None:
    entity, name, _ = FACTS[0]
    indexed.store.upsert([(entity, name, FACTS[1][2])])
    assert indexed.ask(f"What is the {name} of {entity}?", SHORT).text == FACTS[1][2]
    indexed.store.remove(entity=entity, property=name)
    found = indexed.ask(f"What is the {name} of {entity}?", SHORT).facts
    assert (entity, name) not in [(f.fact.entity, f.fact.property) for f in found]


def test_a_view_is_scanned(indexed: KBLaM) -> None:
    entity, name, value = FACTS[0]
    view = indexed.store.view(entity=entity)
    answer = indexed.ask(f"What is the {name} of {entity}?", SHORT, view=view)
    assert answer.text == value
    assert {ranked.fact.entity for ranked in answer.facts} == {entity}
