"""Tasks as data: which questions are asked, over which facts, and which of those are gold."""

from __future__ import annotations

import builtins
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kblam.errors import ConfigError
from kblam.evaluation.metrics import fold
from kblam.knowledge import JsonlSource, Triple

__all__ = [
    "Question",
    "Task",
    "build_task",
    "find_gold",
    "identity",
    "load_facts",
    "load_questions",
    "sample_questions",
]

_QUESTION_FORM = '{"question": "...", "answers": ["..."]}, optionally "entity" and "property"'


@dataclass(frozen=True)
class Question:
    """A question and what would be right to reply.

    Attributes:
        text: The question.
        answers: Accepted answers; none means that a refusal is right.
        entity: The entity asked about, where the file tells.
        property: The property asked for, where the file tells.
        index: The question's line in its file, counted from 0.
    """

    text: str
    answers: tuple[str, ...]
    entity: str | None = None
    property: str | None = None
    index: int = 0

    @builtins.property  # the field above takes the plain name
    def answerable(self) -> bool:
        """Whether the facts answer it."""
        return bool(self.answers)


@dataclass(frozen=True)
class Task:
    """Questions, the facts they are asked over, and the gold facts of each question.

    Attributes:
        facts: In seeded order.
        questions: In the order in which they are asked.
        gold: Per question, the facts that answer it; none for an unanswerable question and for
            one whose answer no fact holds.
        notes: What a reader of the figures should know about the task.
    """

    facts: tuple[Triple, ...]
    questions: tuple[Question, ...]
    gold: tuple[tuple[Triple, ...], ...]
    notes: tuple[str, ...] = ()


def identity(fact: Triple) -> tuple[str, str, str]:
    """What makes two facts the same one, whatever their ids."""
    return fact.entity, fact.property, fact.value


def load_facts(path: str | Path) -> list[Triple]:
    """Read facts from JSONL, each triple once.

    Raises:
        ConfigError: The file is missing or has no facts.
        FactError: A line is not a fact; the message names the line.
    """
    path = _existing(path, "facts")
    facts = {identity(triple): triple for triple in JsonlSource(path).triples()}
    if not facts:
        raise ConfigError(f"Expected facts in {path}, but it has none.")
    return list(facts.values())


def load_questions(path: str | Path) -> list[Question]:
    """Read questions from JSONL.

    Raises:
        ConfigError: The file is missing or empty, or a line is not a question; the message names
            the line.
    """
    path = _existing(path, "questions")
    questions = list(_read_questions(path))
    if not questions:
        raise ConfigError(f"Expected questions in {path}, but it has none.")
    return questions


def _existing(path: str | Path, what: str) -> Path:
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"Expected a JSONL file of {what} at {path}, but there is no such file.")
    return path


def _read_questions(path: Path) -> Iterator[Question]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            where = f"{path}, line {number + 1}"
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ConfigError(
                    f"Expected one JSON object a line like {_QUESTION_FORM}; "
                    f"{where} is not JSON: {error}."
                ) from error
            yield _parse_question(row, index=number, where=where)


def _parse_question(row: Any, *, index: int, where: str) -> Question:
    if not isinstance(row, Mapping):
        raise ConfigError(f"Expected {_QUESTION_FORM} in {where}, got a {type(row).__name__}.")
    text, answers = row.get("question"), row.get("answers")
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f'Expected a non-empty string "question" in {where}, got {text!r}.')
    if not isinstance(answers, list) or not all(isinstance(a, str) and a.strip() for a in answers):
        raise ConfigError(
            f'Expected a list of non-empty strings "answers" in {where}, got {answers!r}. '
            "An empty list means that the right reply is a refusal."
        )
    for name in ("entity", "property"):
        if not isinstance(row.get(name), str | None):
            raise ConfigError(f'Expected a string "{name}" in {where}, got {row[name]!r}.')
    return Question(
        text=text.strip(),
        answers=tuple(answers),
        entity=row.get("entity"),
        property=row.get("property"),
        index=index,
    )


def find_gold(facts: Iterable[Triple], questions: Sequence[Question]) -> list[tuple[Triple, ...]]:
    """Find the facts that answer each question.

    A gold fact has the question's entity and property and one of its answers as value. Where the
    answers are spelled otherwise than the values, all facts of that entity and property are gold;
    where a question names no entity, the fact's entity must occur in the question's text.

    Returns:
        The gold facts of each question, none for unanswerable ones.
    """
    facts = list(facts)
    by_entity: dict[str, list[Triple]] = defaultdict(list)
    by_value: dict[str, list[Triple]] = defaultdict(list)
    for fact in facts:
        by_entity[fold(fact.entity)].append(fact)
        by_value[fold(fact.value)].append(fact)
    return [_gold_of(question, by_entity, by_value) for question in questions]


def _gold_of(
    question: Question,
    by_entity: Mapping[str, Sequence[Triple]],
    by_value: Mapping[str, Sequence[Triple]],
) -> tuple[Triple, ...]:
    answers = {fold(answer): None for answer in question.answers}
    if not answers:
        return ()
    if question.entity is None:
        text = fold(question.text)
        about = [f for a in answers for f in by_value.get(a, ()) if fold(f.entity) in text]
    else:
        about = list(by_entity.get(fold(question.entity), ()))
    if question.property is not None:
        about = [f for f in about if fold(f.property) == fold(question.property)]
    exact = tuple(f for f in about if fold(f.value) in answers)
    if exact or question.property is None:
        return exact
    return tuple(about)


def sample_questions(
    questions: Sequence[Question], limit: int | None, *, seed: int
) -> list[Question]:
    """Draw questions, answerable and unanswerable ones in their shares.

    Files often list all answerable questions first; the first N of them would say nothing about
    refusal. The sample is mixed and depends on the seed alone.

    Returns:
        `limit` questions in random order, or all of them in file order where that is no more.
    """
    if limit is None or limit >= len(questions):
        return list(questions)
    generator = random.Random(seed)
    groups = [[q for q in questions if q.answerable], [q for q in questions if not q.answerable]]
    share = round(limit * len(groups[1]) / len(questions))
    if groups[0] and groups[1] and limit >= 2:
        # One of each at least, however small the sample.
        share = min(max(share, 1), limit - 1)
    drawn = generator.sample(groups[0], limit - share) + generator.sample(groups[1], share)
    generator.shuffle(drawn)
    return drawn


def build_task(
    facts: Sequence[Triple],
    questions: Sequence[Question],
    *,
    num_facts: int | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Task:
    """Choose the questions, keep their gold facts and fill up with others.

    Args:
        facts: All facts.
        questions: All questions.
        num_facts: How many facts the task has; None takes all.
        limit: How many questions are asked; None asks all.
        seed: Of the draws and of the facts' order.

    Returns:
        The task. Where the gold facts alone are more than `num_facts`, or all facts are fewer, the
        task has as many as those, and a note says so.
    """
    asked = sample_questions(questions, limit, seed=seed)
    gold = find_gold(facts, asked)
    chosen, notes = _choose_facts(facts, gold, num_facts, random.Random(seed))
    unknown = sum(q.answerable and not g for q, g in zip(asked, gold, strict=True))
    if unknown:
        notes.append(
            f"No fact holds the answer of {unknown} answerable questions: "
            "they count in the replies' measures, not in recall."
        )
    return Task(tuple(chosen), tuple(asked), tuple(gold), tuple(notes))


def _choose_facts(
    facts: Sequence[Triple],
    gold: Sequence[Sequence[Triple]],
    num_facts: int | None,
    generator: random.Random,
) -> tuple[list[Triple], list[str]]:
    notes: list[str] = []
    keep = {identity(fact) for group in gold for fact in group}
    kept = [fact for fact in facts if identity(fact) in keep]
    others = [fact for fact in facts if identity(fact) not in keep]
    if num_facts is None or num_facts >= len(facts):
        if num_facts is not None and num_facts > len(facts):
            notes.append(f"{num_facts} facts were asked for; the file has {len(facts)}.")
        chosen = kept + others
    else:
        if num_facts < len(kept):
            notes.append(
                f"{num_facts} facts were asked for; the questions' gold facts alone are "
                f"{len(kept)}. Ask fewer questions (limit) for a smaller knowledge base."
            )
        chosen = kept + generator.sample(others, max(num_facts - len(kept), 0))
    generator.shuffle(chosen)
    return chosen, notes
