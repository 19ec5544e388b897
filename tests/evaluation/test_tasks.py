from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kblam._questions import find_gold
from kblam.errors import ConfigError, FactError, SourceError
from kblam.evaluation import Question, build_task, load_facts, load_questions
from kblam.evaluation.tasks import sample_questions
from kblam.knowledge import Triple

DATA = Path(__file__).parents[1] / "data" / "evaluation"


def jsonl(path: Path, rows: Iterable[Any]) -> Path:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def question(text: str = "?", *answers: str, **about: str) -> Question:
    return Question(text, answers, about.get("entity"), about.get("property"))


def test_loads_facts_and_questions() -> None:
    facts, questions = load_facts(DATA / "facts.jsonl"), load_questions(DATA / "questions.jsonl")
    assert len(facts) == 45
    assert facts[0] == Triple("Iron", "chemical symbol", "Fe")
    assert len(questions) == 15
    assert sum(q.answerable for q in questions) == 12
    assert questions[1] == Question(
        "Who wrote Moby-Dick?", ("Herman Melville",), "Moby-Dick", "author", index=1
    )


def test_the_same_fact_twice_is_one(tmp_path: Path) -> None:
    row = {"entity": "Iron", "property": "symbol", "value": "Fe"}
    assert load_facts(jsonl(tmp_path / "f.jsonl", [row, row])) == [Triple("Iron", "symbol", "Fe")]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("{nonsense", "line 2 is not JSON"),
        ("[1]", "line 2, got a list"),
        ({"answers": []}, '"question" in .*line 2'),
        ({"question": "  ", "answers": []}, '"question" in .*line 2'),
        ({"question": "Who?"}, '"answers" in .*line 2.*empty list means'),
        ({"question": "Who?", "answers": "Ann"}, '"answers" in .*line 2'),
        ({"question": "Who?", "answers": [""]}, '"answers" in .*line 2'),
        ({"question": "Who?", "answers": [], "entity": 7}, '"entity" in .*line 2'),
        ({"question": "Who?", "answers": [], "property": " "}, '"property" in .*line 2'),
        ({"question": "Who is \ud800?", "answers": []}, "text in .*line 2.*surrogate"),
        ({"question": "Who is \0?", "answers": []}, "text in .*line 2.*NUL"),
        ({"question": "Who?", "answers": ["Ann", "\udfff"]}, "text in .*line 2"),
        ({"question": "Who?", "answers": [], "entity": "A\0"}, "text in .*line 2"),
        ({"question": "Who?", "answers": [], "property": "\ud800"}, "text in .*line 2"),
        pytest.param(
            '{"question": "Who?", "answers": [' + "1" * 5_000 + "]}",
            "line 2 is not JSON",
            id="5000 digits",
        ),
        pytest.param("[" * 100_000, "line 2 is not JSON.*deeper", id="deep"),
    ],
)
def test_a_bad_question_is_named_by_its_line(tmp_path: Path, row: Any, complaint: str) -> None:
    good = {"question": "Who?", "answers": ["Ann"], "more": "is left alone"}
    with pytest.raises(ConfigError, match=complaint):
        load_questions(jsonl(tmp_path / "q.jsonl", [good, row]))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_questions_that_are_not_utf_8_are_told_to_be(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "Who runs Zürich?", "answers": []}', encoding=encoding)
    with pytest.raises(SourceError, match=r"q\.jsonl to be UTF-8"):
        load_questions(path)


def test_missing_and_empty_files_and_bad_facts(tmp_path: Path) -> None:
    empty = jsonl(tmp_path / "empty.jsonl", [])
    for load in (load_facts, load_questions):
        with pytest.raises(ConfigError, match="no such file"):
            load(tmp_path / "nowhere.jsonl")
        with pytest.raises(ConfigError, match="has none"):
            load(empty)
    with pytest.raises(FactError, match="line 1"):
        load_facts(jsonl(tmp_path / "f.jsonl", [{"entity": "", "property": "p", "value": "v"}]))


PERU = [
    Triple("Peru", "official language", "Spanish"),
    Triple("Peru", "official language", "Quechua"),
    Triple("Peru", "capital", "Lima"),
    Triple("Spain", "official language", "Spanish"),
]


@pytest.mark.parametrize(
    ("asked", "gold"),
    [
        (question("?", "spanish", entity="PERU", property="Official language"), PERU[:1]),
        (
            question("?", "Spanish", "Quechua", entity="Peru", property="official language"),
            PERU[:2],
        ),
        # Answers spelled otherwise than the values: what the entity and property say.
        (question("?", "castellano", entity="Peru", property="official language"), PERU[:2]),
        (question("?", "castellano", entity="Peru"), []),
        (question("?", "Spanish", entity="Peru"), PERU[:1]),
        (question("What is spoken in Spain?", "Spanish"), PERU[3:]),
        (question("What is spoken there?", "Spanish"), []),
        (question("?", entity="Peru", property="capital"), []),  # unanswerable
        (question("?", "Lima", entity="Chile", property="capital"), []),
    ],
)
def test_gold_facts(asked: Question, gold: list[Triple]) -> None:
    assert find_gold(PERU, [asked]) == [tuple(gold)]


HOMES = [
    Triple(name, "city", "Rome")
    for name in ("Ann", "Joanna", "Ann Lee", "O\u2019Brien", "Warehouse 4", "東京", "Иван")
]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Where does Joanna live?", ["Joanna"]),  # no Ann lives in that name
        ("Where does ann live?", ["Ann"]),
        ("Where is Ann's home?", ["Ann"]),
        ("Where does Ann Lee live?", ["Ann Lee"]),
        ("Where do Ann Lee and Ann live?", ["Ann", "Ann Lee"]),
        ("Where does O'Brien live?", ["O\u2019Brien"]),
        ("Where is Warehouse 47?", []),
        ("東京はどこですか", ["東京"]),  # no spaces between words
        ("Где живёт Иванов?", []),
    ],
)
def test_a_name_is_named_by_whole_words(text: str, named: list[str]) -> None:
    (gold,) = find_gold(HOMES, [question(text, "Rome")])
    assert [fact.entity for fact in gold] == named


AURORA = [
    Triple("Aurora", "project_lead", "Mirela"),
    Triple("Aurora", "launchCode", "QX"),
    Triple(
        "http://example.org/BlueMoon", "http://example.org/hasCapital", "http://example.org/Rim"
    ),
]


@pytest.mark.parametrize(
    ("asked", "gold"),
    [
        (question("?", "Mirela", entity="Aurora", property="project lead"), AURORA[:1]),
        (question("?", "QX", entity="aurora", property="Launch code"), AURORA[1:2]),
        (question("?", "QX", entity="Aurora", property="launch_code"), AURORA[1:2]),
        (question("?", "Rim", entity="Blue Moon", property="capital"), AURORA[2:]),
        (
            question("?", AURORA[2].value, entity=AURORA[2].entity, property=AURORA[2].property),
            AURORA[2:],
        ),
        (question("What is the capital of Blue Moon?", "Rim", AURORA[2].value), AURORA[2:]),
    ],
)
def test_spellings_of_stores_and_words_are_the_same(asked: Question, gold: list[Triple]) -> None:
    assert find_gold(AURORA, [asked]) == [tuple(gold)]


def test_every_question_of_a_real_set_has_its_gold_fact() -> None:
    facts, questions = load_facts(DATA / "facts.jsonl"), load_questions(DATA / "questions.jsonl")
    for asked, gold in zip(questions, find_gold(facts, questions), strict=True):
        assert {fact.value for fact in gold} == set(asked.answers)


def many_facts(count: int) -> list[Triple]:
    return [Triple(f"entity {i}", "number", str(i)) for i in range(count)]


def many_questions(answerable: int, unanswerable: int) -> list[Question]:
    rows = [(f"Number of entity {i}?", (str(i),), f"entity {i}") for i in range(answerable)]
    rows += [(f"Colour of entity {i}?", (), f"entity {i}") for i in range(unanswerable)]
    return [
        Question(text, answers, entity, "number" if answers else "colour", index)
        for index, (text, answers, entity) in enumerate(rows)
    ]


@given(
    answerable=st.integers(1, 30),
    unanswerable=st.integers(0, 10),
    limit=st.integers(1, 50),
    num_facts=st.integers(1, 60),
    seed=st.integers(0, 3),
)
def test_a_task_keeps_gold_facts_and_fills_up(
    answerable: int, unanswerable: int, limit: int, num_facts: int, seed: int
) -> None:
    facts, questions = many_facts(40), many_questions(answerable, unanswerable)
    task = build_task(facts, questions, num_facts=num_facts, limit=limit, seed=seed)
    assert len(task.questions) == len(set(task.questions)) == min(limit, len(questions))
    asked = sum(q.answerable for q in task.questions)
    assert len(task.facts) == len(set(task.facts)) == max(min(num_facts, len(facts)), asked)
    assert all(
        (len(gold) == 1) == q.answerable for q, gold in zip(task.questions, task.gold, strict=True)
    )
    assert {fact for gold in task.gold for fact in gold} <= set(task.facts)
    assert task == build_task(facts, questions, num_facts=num_facts, limit=limit, seed=seed)


def test_a_sample_has_unanswerable_questions_in_their_share() -> None:
    questions = many_questions(90, 10)
    sample = sample_questions(questions, 30, seed=0)
    assert sum(not q.answerable for q in sample) == 3
    assert sample != sample_questions(questions, 30, seed=1)
    # Mixed, not one kind after the other.
    assert any(not q.answerable for q in sample[:20])
    assert sum(not q.answerable for q in sample_questions(questions, 2, seed=0)) == 1
    assert sample_questions(questions, None, seed=0) == questions
    assert sample_questions(questions, 100, seed=0) == questions


def test_notes_tell_what_was_not_as_asked() -> None:
    facts, questions = many_facts(40), many_questions(20, 0)
    assert build_task(facts, questions, num_facts=30).notes == ()
    (note,) = build_task(facts, questions, num_facts=10).notes
    assert note.startswith("10 facts were asked for; the questions' gold facts alone are 20")
    (note,) = build_task(facts, questions, num_facts=50).notes
    assert note == "50 facts were asked for; the file has 40."
    (note,) = build_task(facts[:19], questions).notes
    assert note.startswith("No fact holds the answer of 1 answerable questions")


def test_gold_facts_do_not_come_first() -> None:
    task = build_task(many_facts(40), many_questions(20, 0))
    gold = {fact for group in task.gold for fact in group}
    assert 5 <= sum(fact in gold for fact in task.facts[:20]) <= 15
