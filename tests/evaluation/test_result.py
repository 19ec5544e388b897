from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kblam.evaluation import EvaluationConfig, EvaluationResult, Question
from kblam.evaluation.answering import Reply
from kblam.evaluation.prompts import DEFAULT_WORDINGS, WORDINGS, messages
from kblam.evaluation.records import QuestionRecord, score
from kblam.evaluation.result import summarise
from kblam.knowledge import Triple

REFUSAL = "I cannot tell."
GOLD = (Triple("Ann", "boss", "Bob"),)
OTHERS = tuple(Triple("Ann", f"number {i}", str(i)) for i in range(9))
FACTS: dict[str, Any] = {
    "num_facts": 10,
    "peak_memory_mb": 1.0,
    "model": "m",
    "adapter": None,
    "encoder": None,
    "versions": {},
    "preparation_seconds": 0.0,
    "device": "cpu",
    "threads": 1,
}


def record(reply: str, *answers: str, place: int | None = None, **more: Any) -> QuestionRecord:
    ranking = None
    if place is not None:
        ranking = (*OTHERS[: place - 1], *GOLD, *OTHERS[place - 1 :])
    said = Reply(reply, False, 10, 5, **more)
    return score(Question("?", answers), GOLD if answers else (), ranking, said, REFUSAL)


def summary(*records: QuestionRecord, **changes: Any) -> EvaluationResult:
    config = EvaluationConfig(facts=Path("f"), questions=Path("q"), **changes)
    return summarise(records, config, **FACTS)


def test_the_figures_by_hand() -> None:
    result = summary(
        record("Bob", "Bob", place=1, seconds=1.0, time_to_first_token=0.5),
        record("It is bob, bob.", "Bob", place=3, seconds=3.0, time_to_first_token=1.5),
        record("It is Eve.", "Bob", place=6),
        record("I cannot tell.", "Bob", place=1),  # a wrong refusal
        record("I'm sorry, no idea."),  # a right one
        record("Eve."),  # missing: nothing is known
    )
    assert (result.num_questions, result.num_answerable, result.num_unanswerable) == (6, 4, 2)
    assert result.num_refused == 2
    assert result.recall_at_1 == pytest.approx(2 / 4)
    assert result.recall_at_5 == pytest.approx(3 / 4)
    assert result.exact_match == pytest.approx(1 / 4)
    assert result.contains == pytest.approx(2 / 4)
    assert result.value_once == pytest.approx(1 / 4)
    # "it is bob bob": one of four tokens, one of one -> 2 * 1 / (4 + 1)
    assert result.token_f1 == pytest.approx((1 + 0.4) / 4)
    assert result.refusal_precision == pytest.approx(1 / 2)
    assert result.refusal_recall == pytest.approx(1 / 2)
    assert result.seconds_per_question == pytest.approx(2.0)
    assert result.time_to_first_token == pytest.approx(1.0)
    assert result.latency["seconds_p50"] == pytest.approx(2.0)
    low, high = result.intervals["contains"]
    assert 0.0 <= low <= 0.5 <= high <= 1.0


def test_what_cannot_be_said_is_none() -> None:
    answered = summary(record("Bob", "Bob"))
    assert answered.recall_at_1 is answered.refusal_precision is answered.refusal_recall is None
    assert answered.seconds_per_question is None
    unanswerable = summary(record("Bob"), bootstrap=0)
    assert unanswerable.contains is unanswerable.exact_match is None
    # Something was to be refused and nothing was.
    assert (unanswerable.refusal_precision, unanswerable.refusal_recall) == (0.0, 0.0)
    assert unanswerable.intervals == {}


def test_a_record_survives_json() -> None:
    first = record("Bob", "Bob", "Robert", place=2)
    assert QuestionRecord.from_dict(first.to_dict()) == first
    assert first.rank == 2


@pytest.mark.parametrize("name", WORDINGS)
def test_every_wording_asks_the_question_and_shows_the_facts(name: str) -> None:
    filled = messages(
        WORDINGS[name], question="Who {is} it?", facts=["A is {b}.", "C is d."], refusal=REFUSAL
    )
    text = "\n".join(message["content"] for message in filled)
    assert "Who {is} it?" in text
    assert ("A is {b}.\nC is d." in text) is (not name.startswith("question"))
    assert filled[-1]["role"] == "user"
    assert (REFUSAL in text) is (name not in ("plain", "context", "question"))


def test_the_default_wordings_exist() -> None:
    assert set(DEFAULT_WORDINGS.values()) <= set(WORDINGS)
