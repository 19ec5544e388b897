"""What of an answer is copied, and what the model writes."""

from __future__ import annotations

import pytest

from kblam.config import COPY_PARTS
from kblam.knowledge import Triple
from kblam.training.data import TrainingQuestion, generate_questions, generate_world
from kblam.training.spans import answer_spans


def _split(fact: Triple, words: str) -> list[tuple[str, str | None]]:
    question = TrainingQuestion("?", (0,), (words, 0), "single")
    return [
        (span.text, None if span.fact is None else COPY_PARTS[span.part])
        for span in answer_spans([fact], question)
    ]


@pytest.mark.parametrize(
    ("fact", "words", "expected"),
    [
        (
            Triple("Capital Bank", "capital", "9 M"),
            "The capital of Capital Bank is ",
            [("The ", None), ("capital", "property"), (" of ", None), ("Capital Bank", "entity"),
             (" is ", None)],
        ),
        (
            Triple("Acme", "foundedIn", "1990"),
            "Acme was founded in ",
            [("Acme", "entity"), (" ", None), ("was founded in", "property")],
        ),
        (
            Triple("Acme", "ceo", "Ann"),
            "The CEO of Acme is ",
            [("The ", None), ("ceo", "property"), (" of ", None), ("Acme", "entity"),
             (" is ", None)],
        ),
        (Triple("Ann", "age", "9"), "The page of Annie is ", [("The page of Annie is ", None)]),
    ],
)  # fmt: skip
def test_names_as_the_store_has_them_are_copied(fact: Triple, words: str, expected) -> None:
    assert _split(fact, words) == [*expected, (fact.value, "value")]


def test_a_split_answer_still_says_the_same() -> None:
    world = generate_world(300, 3)
    seen = 0
    for question in generate_questions(world, 200, 4):
        if question.gold:
            spans = answer_spans(world.facts, question)
            seen += any(span.part for span in spans)
            pieces = " ".join(" ".join(span.text for span in spans).split())
            whole = " ".join(
                part if isinstance(part, str) else world.facts[part].value_text
                for part in question.answer
            )
            assert pieces.lower() == " ".join(whole.split()).lower()
    assert seen > 50
