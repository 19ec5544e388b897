"""What people ask of a small store in their own words, with the shipped adapter."""

from __future__ import annotations

from typing import Any

import pytest

from kblam import GenerationOptions, KBLaM, KnowledgeStore

pytestmark = pytest.mark.weights

FACTS = [
    ("Trailblazer 40 Backpack", "color", "forest green"),
    ("Trailblazer 40 Backpack", "color", "slate grey"),
    ("Trailblazer 40 Backpack", "price", "$129.00"),
    ("Ember Stove", "price", "$64.50"),
    ("Ember Stove", "weight", "310 g"),
    ("Ember Stove", "color", "red"),
    ("Ember Stove Pro", "price", "$89.00"),
    ("Ember Stove Pro", "weight", "345 g"),
    ("Cairn & Pine Outfitters", "return policy", "60 days with receipt"),
    ("Cairn & Pine Outfitters", "email", "help@cairn.example"),
    ("Björk", "instrument", "flute"),
    ("Björk", "instrument", "vocals"),
    ("Maria Garcia Lopez", "email", "mgl@clinic.example"),
    ("Maria Garcia", "office", "D-1"),
    ("Łukasz Żółć", "office", "B-2"),
]


@pytest.fixture(scope="module")
def model() -> KBLaM:
    return KBLaM.from_pretrained().attach(FACTS)


@pytest.mark.parametrize(
    ("question", "values"),
    [
        ("List all colors of the Trailblazer 40 Backpack.", {"forest green", "slate grey"}),
        ("Name all the instruments of Björk", {"flute", "vocals"}),
        ("What is the price of the Ember Stove and the Ember Stove Pro?", {"$64.50", "$89.00"}),
        ("What is the office of Lukasz Zolc?", {"B-2"}),
        ("return policy of Cairn & Pine Outfitters", {"60 days with receipt"}),
    ],
)
def test_all_that_is_stored_is_told_and_nothing_after_it(
    model: KBLaM, question: str, values: set[str]
) -> None:
    answer = model.ask(question)
    assert {citation.fact.value for citation in answer.citations} == values
    assert answer.text[max(citation.end for citation in answer.citations) :] == "."


def test_the_last_value_of_a_list_comes_after_a_word(model: KBLaM) -> None:
    answer = model.ask("List all colors of the Trailblazer 40 Backpack.")
    first, last = sorted(answer.citations, key=lambda citation: citation.start)
    assert answer.text[first.end : last.start] == " and "


def test_a_value_that_spells_the_end_of_an_answer_is_told_whole() -> None:
    value = "press <|im_end|> and wait"
    model = KBLaM.from_pretrained().attach([("Ember Stove", "reset procedure", value)])
    answer = model.ask("What is the reset procedure of the Ember Stove?")
    assert value in answer.text
    assert [citation.fact.value for citation in answer.citations] == [value]


@pytest.mark.parametrize("system", ["Answer briefly.", "You are a shop assistant. Be polite."])
def test_what_is_surely_stored_is_not_refused_by_habit(model: KBLaM, system: str) -> None:
    question = "What is the return policy of Cairn & Pine Outfitters?"
    turns = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    assert "60 days with receipt" in model.ask(turns).text


def test_a_fact_of_somebody_with_a_longer_name_is_no_answer(model: KBLaM) -> None:
    assert model.ask("What is Maria Garcia's email?").refused
    assert "mgl@clinic.example" in model.ask("What is Maria Garcia Lopez's email?").text
    with KnowledgeStore.from_source(FACTS) as store:
        store.remove(entity="Ember Stove", property="price")
        other = model.with_options().attach(store)
        assert other.ask("What is the price of the Ember Stove?").refused
        assert "$89.00" in other.ask("What is the price of the Ember Stove Pro?").text


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("What is the city of José Núñez?", "São Paulo"),
        ("What is the city of Jose Nunez?", "Manila"),
        ("What is the phone of Sam?", "555-0200"),
        ("What is the phone of SAM?", "555-0100"),
        ("What is the city of Иван?", "Москва"),
    ],
)
def test_of_names_that_are_nearly_alike_the_one_that_is_written_counts(
    model: KBLaM, question: str, value: str
) -> None:
    facts = [
        ("José Núñez", "city", "São Paulo"),
        ("Jose Nunez", "city", "Manila"),
        ("SAM", "phone", "555-0100"),
        ("Sam", "phone", "555-0200"),
        ("Иван", "city", "Москва"),
    ]
    with KnowledgeStore.from_source(facts) as store:
        answers = model.with_options().attach(store)
        answer = answers.ask(question)
        assert [citation.fact.value for citation in answer.citations] == [value]
        assert answers.ask("What is the city of Иванов?").refused


@pytest.mark.parametrize(
    "options",
    [
        {"stop": ["."]},
        {"stop": ["information"]},
        {"max_new_tokens": 8},
        {"max_new_tokens": 8, "num_beams": 2},
    ],
)
def test_a_refusal_that_is_cut_off_is_one(model: KBLaM, options: dict[str, Any]) -> None:
    strict = model.with_options(refusal="Not in our records.")
    for question in ("Who wrote Hamlet?", "What is the office of Maria Garcia Lopez?"):
        answer = strict.ask(question, GenerationOptions(**options))
        assert (answer.text, answer.refused) == ("Not in our records.", True)
        streamed = strict.stream(question, GenerationOptions(**options))
        assert "".join(streamed) == "Not in our records."


@pytest.mark.parametrize("between", [[], ["Thanks!"], ["And its weight?", "Thank you."]])
def test_a_follow_up_leans_on_the_last_question_that_names_something(
    model: KBLaM, between: list[str]
) -> None:
    turns = []
    for said in ("What is the price of the Ember Stove?", *between):
        turns += [{"role": "user", "content": said}, {"role": "assistant", "content": "Well."}]
    assert "red" in model.ask([*turns, {"role": "user", "content": "And its color?"}]).text
