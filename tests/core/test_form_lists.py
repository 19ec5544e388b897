"""Lists of texts in forms, which have what the facts have for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kblam import GenerationOptions, KBLaM, OutputConstraint
from kblam._form_lists import list_at

FACTS = [
    *(("Borealis", "colours", value) for value in ("red", 'so-called "sea [green]"', "blue")),
    ("Borealis", "price", "$64.50"),
    *(("Ada Reyes", "children", value) for value in ("Tom", "Tom Reyes", "Mía Reyes")),
    ("Ada Reyes", "birthplace", "Lima"),
    ("Larkspur Instruments", "director", "Ines Okafor"),
]
COLOURS = sorted(value for entity, name, value in FACTS if name == "colours")
CHILDREN = sorted(value for entity, name, value in FACTS if name == "children")


@pytest.fixture(scope="module")
def model() -> KBLaM:
    return KBLaM.from_pretrained().attach(FACTS)


def form(**fields: dict[str, Any]) -> GenerationOptions:
    schema = {"type": "object", "properties": fields, "required": list(fields)}
    return GenerationOptions(max_new_tokens=96, constraint=OutputConstraint.json_schema(schema))


def texts(**more: Any) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}, **more}


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"colours": [', "colours"),
        ('{"colours": ["red", "se', "colours"),
        ('{"a": ["x"], "b": {"colours": ["red"', "colours"),
        ('{"say \\"x\\": [": 1, "colours": ["a]", "', "colours"),
        ('{"colours": ["red"]', None),
        ('{"colours": ["red"], "price": ', None),
        ('{"colours": "[', None),
        ('{"things": [{"colours": ["red"', None),
        ('{"things": [{"colours": ["red"]}], "sizes": ["', "sizes"),
    ],
)
def test_where_a_list_stands(text: str, field: str | None) -> None:
    found = list_at(text)
    assert (None if found is None else found["field"]) == field


@pytest.mark.weights
@pytest.mark.parametrize(
    ("question", "field", "expected"),
    [
        ("What are the colours of Borealis?", "colours", COLOURS),
        ("What are the colours of Borealis?", "available_colours", COLOURS),
        ("Who are the children of Ada Reyes?", "kids", CHILDREN),
        ("Who are the children of Ada Reyes?", "answer", CHILDREN),
        ("Who is the director of Larkspur Instruments?", "directors", ["Ines Okafor"]),
    ],
)
def test_a_list_has_all_values_and_no_others(
    model: KBLaM, question: str, field: str, expected: list[str]
) -> None:
    answer = model.ask(question, form(**{field: texts()}))
    assert sorted(json.loads(answer.text)[field]) == expected
    assert sorted(citation.fact.value for citation in answer.citations) == expected
    streamed = model.stream(question, form(**{field: texts()}))
    assert "".join(streamed) == answer.text


@pytest.mark.weights
def test_as_far_as_the_form_allows(model: KBLaM) -> None:
    question = "What are the colours of Borealis?"
    two = json.loads(model.ask(question, form(colours=texts(maxItems=2))).text)["colours"]
    assert len(two) == 2
    assert set(two) < set(COLOURS)
    four = json.loads(model.ask(question, form(colours=texts(minItems=4))).text)["colours"]
    assert len(four) >= 4
    assert set(COLOURS) <= set(four)


@pytest.mark.weights
def test_beside_other_fields(model: KBLaM) -> None:
    fields = {"birthplace": {"type": "string"}, "children": texts(), "hobbies": texts()}
    answer = model.ask("Who are the children of Ada Reyes?", form(**fields))
    found = json.loads(answer.text)
    assert found["birthplace"] == "Lima"
    assert sorted(found["children"]) == CHILDREN
    assert found["hobbies"] == []  # nothing is known of them


@pytest.mark.weights
def test_choices_are_the_models(model: KBLaM) -> None:
    kinds = {"type": "array", "items": {"enum": ["people", "things"]}}
    options = form(children=texts(), topics=kinds)
    found = json.loads(model.ask("Who are the children of Ada Reyes?", options).text)
    assert sorted(found["children"]) == CHILDREN
    assert found["topics"]


@pytest.mark.weights
def test_each_prompt_of_a_batch_has_its_own(model: KBLaM) -> None:
    questions = ["Who are the children of Ada Reyes?", "What are the colours of Borealis?"]
    answers = model.ask_batch(questions, form(answer=texts()))
    found = [sorted(json.loads(answer.text)["answer"]) for answer in answers]
    assert found == [CHILDREN, COLOURS]


@pytest.mark.weights
def test_beams_write_them_too(model: KBLaM) -> None:
    options = form(children=texts())
    beams = GenerationOptions(max_new_tokens=96, num_beams=2, constraint=options.constraint)
    answer = model.ask("Who are the children of Ada Reyes?", beams)
    assert sorted(json.loads(answer.text)["children"]) == CHILDREN
