"""Answers from stores that keep their vectors as int8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from observing import logits_of, row_of, same, told
from tiny_kblam import FACTS, WordEncoder, save_tiny

from kblam import KBLaM, _knowledge_base
from kblam.attention import Int8Facts
from kblam.config import GenerationOptions
from kblam.knowledge import KnowledgeStore, Triple, View

RED = View.build(metadata={"team": "red"})
BLUE = View.build(metadata={"team": "blue"})
SHORT = GenerationOptions(max_new_tokens=12)
QUESTIONS = [f"What is the {name} of {entity}?" for entity, name, _ in FACTS]


def red() -> list[Triple]:
    return [Triple(*fact, metadata={"team": "red"}) for fact in FACTS]


def blue(count: int) -> list[Triple]:
    """Facts that fit the questions as well as those that are shown."""
    return [
        Triple(*FACTS[i % len(FACTS)][:2], f"SECRET {i}", metadata={"team": "blue"})
        for i in range(count)
    ]


def observe(
    model: KBLaM, facts: Sequence[Any], prompts: Sequence[str] = QUESTIONS, **call: Any
) -> tuple[list[Any], list[Any]]:
    """Logits and answers over an int8 store of these facts."""
    with KnowledgeStore.from_source(facts, vectors="int8") as store, logits_of(model) as logits:
        answers = model.attach(store).ask_batch(prompts, SHORT, **call)
        assert store.vectors(model.encoder.name).form == "int8"
        return logits, [told(answer) for answer in answers]


def test_it_answers_and_keeps_in_step(load: Callable[..., KBLaM], tmp_path: Path) -> None:
    with KnowledgeStore.from_source(FACTS, tmp_path / "facts.db", vectors="int8") as store:
        model = load("copying").attach(store)
        for question, (_, _, value) in zip(QUESTIONS, FACTS, strict=True):
            answer = model.ask(question, SHORT)
            assert answer.text == value
            assert answer.citations[0].fact.value == value
        base = model._attached[0]
        assert base is not None
        assert isinstance(base.read().keys, Int8Facts)
        entity, name, _ = FACTS[0]
        store.upsert((entity, name, FACTS[1][2]))
        assert model.ask(QUESTIONS[0], SHORT).text == FACTS[1][2]
        # Converted while it is attached.
        store.convert_vectors("half")
        assert model.ask(QUESTIONS[0], SHORT).text == FACTS[1][2]
        assert isinstance(base.read().keys, torch.Tensor)
        store.upsert((entity, name, FACTS[2][2]))
        assert model.ask(QUESTIONS[0], SHORT).text == FACTS[2][2]
        store.convert_vectors("int8")
        assert isinstance(base.read().keys, Int8Facts)
        store.remove(entity=entity, property=name)
        found = model.ask(QUESTIONS[0], SHORT).facts
        assert (entity, name) not in [(f.fact.entity, f.fact.property) for f in found]
        assert isinstance(base.read().keys, Int8Facts)


@pytest.mark.parametrize("kind", ["rambling", "copying"])
@pytest.mark.parametrize("hidden", [1, 90, 700])
def test_what_is_hidden_has_no_part_in_any_number(
    load: Callable[..., KBLaM], kind: str, hidden: int
) -> None:
    model = load(kind)
    expected = observe(model, red(), view=RED)
    assert expected[1][0]["facts"]
    for facts in ([*blue(hidden), *red()], [*red(), *blue(hidden)]):
        logits, answers = observe(model, facts, view=RED)
        assert same(logits, expected[0])
        assert answers == expected[1]


def test_views_of_a_batch_are_apart(load: Callable[..., KBLaM]) -> None:
    model, facts = load("copying"), [*blue(40), *red()]
    views = [RED, BLUE, None, RED, None, BLUE][: len(QUESTIONS)]
    logits, _ = observe(model, facts, views=views)
    for other in (blue(300), blue(2)):
        again, _ = observe(model, [*other, *red()], views=views)
        for row, view in enumerate(views):
            if view == RED:
                assert same(row_of(logits[:1], row), row_of(again[:1], row))
    _, answers = observe(model, facts, views=views)
    for row, view in enumerate(views):
        if view is not None:
            assert ("SECRET" in str(answers[row])) == (view == BLUE)


def test_where_every_layer_reads_all_facts(
    tmp_path_factory: pytest.TempPathFactory, encoder: WordEncoder
) -> None:
    folder = tmp_path_factory.mktemp("unselected")
    pair = save_tiny(folder, encoder, selection=None, grounded=False)
    model = KBLaM.from_pretrained(pair.base, adapter=pair.adapter, encoder=encoder)
    expected = observe(model, red(), QUESTIONS[:2], view=RED)
    found = observe(model, [*blue(40), *red()], QUESTIONS[:2], view=RED)
    assert same(found[0], expected[0])
    assert not same(observe(model, [*blue(40), *red()], QUESTIONS[:2])[0], expected[0])


def test_an_index_finds_what_a_scan_finds(
    load: Callable[..., KBLaM], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(_knowledge_base, "_INDEX_FROM", 300)
    facts = [(f"Project {i} {i * 7919 % 101}", "code", f"value {i}") for i in range(600)]
    with KnowledgeStore.from_source([*FACTS, *facts], vectors="int8") as store:
        scanning, model = load("copying").attach(store, exact=True), load("copying").attach(store)
        model.ask(QUESTIONS[0], SHORT)
        base = model._attached[0]
        assert base is not None
        assert base.wait_for_index(60)
        assert base.candidates(base.read()) is not None
        for question in QUESTIONS:
            answer, expected = model.ask(question, SHORT), scanning.ask(question, SHORT)
            assert answer.text == expected.text
            assert answer.facts[0].fact == expected.facts[0].fact


@pytest.mark.weights
def test_the_bundled_model_answers_from_int8_as_from_half_precision(tmp_path: Path) -> None:
    facts = [
        ("Aurora", "launch code", "QX-7719"),
        ("Aurora", "project lead", "Mireille Okonkwo"),
        ("Borealis", "budget", "3.2 million euros"),
        *((f"Station {i}", "supply officer", f"Officer {i * 37}") for i in range(200)),
    ]
    questions = ["What is the launch code of Aurora?", "Who is Aurora's project lead?",
                 "What is the budget of Borealis?", "Who is the supply officer of Station 41?",
                 "Who painted the Mona Lisa of Aurora's warehouse?"]  # fmt: skip
    model = KBLaM.from_pretrained()
    texts = {}
    for form in ("half", "int8"):
        path = tmp_path / f"{form}.db"
        KnowledgeStore.from_source(facts, path, vectors=form).close()
        with KnowledgeStore(path) as store:
            answers = model.attach(store).ask_batch(questions)
            assert store.vectors(model.encoder.name).form == form
            texts[form] = [answer.text for answer in answers]
    assert texts["int8"] == texts["half"]
    for value, text in zip(("QX-7719", "Mireille Okonkwo", "3.2 million", "Officer 1517"),
                           texts["int8"], strict=False):  # fmt: skip
        assert value in text
