"""Facts and questions of one's own, beside the synthetic ones."""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kblam._questions import FactsAsked, Question, fold, load_facts, load_questions, place
from kblam.errors import ConfigError
from kblam.knowledge import Triple
from kblam.training.data import TrainingQuestion, told

__all__ = ["Own", "mix", "read_own", "show_own"]

_log = logging.getLogger(__name__)
# Facts of the entity asked about that are shown beside what answers the question.
_NEAR = 6


@dataclass(frozen=True)
class Own:
    """Facts, and questions about them.

    Attributes:
        facts: Each once.
        questions: With indices into these facts.
    """

    facts: tuple[Triple, ...]
    questions: tuple[TrainingQuestion, ...]


def read_own(facts: str | Path, questions: str | Path) -> Own:
    """Read the files that ``kblam evaluate`` reads, as training data.

    The facts that answer a question have its entity and property and one of its answers as
    value, or any value where none is spelled like an answer. Of a question without an entity, the
    fact's entity must stand in the text, in whole words. What is to be said is made of the facts:
    "The project lead of Aurora is Mirela Osei." Questions without answers are to be refused.

    Args:
        facts: JSONL of ``{"entity", "property", "value"}``.
        questions: JSONL of ``{"question", "answers"}``, optionally ``"entity"``, ``"property"``.

    Raises:
        ConfigError: A file is missing or empty, a line is no question, a question that is to be
            refused has an answer among the facts, one text is to be answered in two ways, or no
            question has an answer.
        FactError: A line is no fact.
    """
    reader = _Reader(load_facts(facts))
    rows = load_questions(questions)
    asked = [reader.question(row, place(questions, row.index)) for row in rows]
    known = tuple(question for question in asked if question is not None)
    _check_one_answer(known, questions)
    if len(known) < len(asked):
        _log.warning(
            "%d of %d questions in %s have an answer that no fact in %s holds, first %r; they are "
            "left out.",
            len(asked) - len(known), len(asked), questions, facts,
            next(one.text for one, found in zip(rows, asked, strict=True) if found is None),
        )  # fmt: skip
    if not known:
        raise ConfigError(
            f"Expected questions in {questions} that the facts in {facts} answer, or that have "
            "no answers; there are none. Compare the files' entities and properties."
        )
    return Own(reader.facts, known)


def _check_one_answer(asked: Sequence[TrainingQuestion], path: str | Path) -> None:
    """Refuse a text that is to be answered by some facts here, by others or none there."""
    found: dict[str, set[tuple[int, ...]]] = defaultdict(set)
    for question in asked:
        found[fold(question.question)].add(tuple(sorted(question.gold)))
    twice = [q.question for q in asked if len(found[fold(q.question)]) > 1]
    if twice:
        raise ConfigError(
            f"Expected one reply to each question in {path}, got other answers to the same words "
            f"in {len(twice)} lines, first {twice[0]!r}. Give all answers to a question in one "
            "line, and name in the question whom it is about."
        )


def mix(
    facts: Sequence[Triple],
    questions: Sequence[TrainingQuestion],
    own: Own,
    count: int,
    seed: int,
) -> tuple[tuple[Triple, ...], tuple[TrainingQuestion, ...]]:
    """Add own facts and questions to synthetic ones.

    Args:
        facts: Synthetic.
        questions: About them.
        own: One's own.
        count: How many own questions are asked; few are asked again and again.
        seed: Of the order.

    Returns:
        The facts, own ones last, and the questions in random order.
    """
    rng = random.Random(seed)
    chosen: list[TrainingQuestion] = []
    while len(chosen) < count:
        again = rng.sample(own.questions, len(own.questions))
        chosen += [_moved(question, len(facts)) for question in again[: count - len(chosen)]]
    mixed = [*questions, *chosen]
    rng.shuffle(mixed)
    return (*facts, *own.facts), tuple(mixed)


def _moved(question: TrainingQuestion, by: int) -> TrainingQuestion:
    return replace(
        question,
        gold=tuple(index + by for index in question.gold),
        near=tuple(index + by for index in question.near),
        answer=tuple(p + by if isinstance(p, int) else p for p in question.answer),
    )


def show_own(own: Own, count: int) -> str:
    """The first questions and what is to be said to them, for people to read."""
    lines = [f"Own: {len(own.facts)} facts, {len(own.questions)} questions"]
    for question in own.questions[:count]:
        parts = [own.facts[p].value_text if isinstance(p, int) else p for p in question.answer]
        lines += [f"  {question.question}", f"      -> {''.join(parts) or '(refuse)'}"]
    return "\n".join(lines)


class _Reader:
    """Finds the facts that answer questions, and words the answers."""

    def __init__(self, facts: Iterable[Triple]) -> None:
        self._asked = FactsAsked(facts)
        self.facts = self._asked.facts

    def question(self, asked: Question, where: str) -> TrainingQuestion | None:
        """The question to learn from, or None if no fact answers it although it has answers."""
        gold = self._asked.answering(asked)
        if asked.answerable and not gold:
            return None
        entity = asked.entity or (self.facts[gold[0]].entity if gold else "")
        if not asked.answerable and asked.entity is not None and asked.property is not None:
            self._check_unknown(asked.entity, asked.property, where)
        near = [index for index in self._asked.about(entity) if index not in gold]
        return TrainingQuestion(
            question=asked.text,
            gold=gold,
            answer=told(self.facts, gold),
            kind="own" if gold else "unanswerable",
            near=tuple(near[:_NEAR]),
        )

    def _check_unknown(self, entity: str, name: str, where: str) -> None:
        if known := self._asked.about(entity, name):
            raise ConfigError(
                f"Expected a question that no fact answers in {where}, as it has no answers, but "
                f"there is the fact {self.facts[known[0]].statement!r} Remove one of the two."
            )
