"""Facts and questions of one's own, beside the synthetic ones."""

from __future__ import annotations

import json
import logging
import random
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kblam.errors import ConfigError
from kblam.knowledge import JsonlSource, Triple
from kblam.training.data import TrainingQuestion, told

__all__ = ["Own", "mix", "read_own", "show_own"]

_log = logging.getLogger(__name__)
_FORM = '{"question": "...", "answers": ["..."]}, optionally "entity" and "property"'
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
    fact's entity must stand in the text. What is to be said is made of the facts: "The project
    lead of Aurora is Mirela Osei." Questions without answers are to be refused.

    Args:
        facts: JSONL of ``{"entity", "property", "value"}``.
        questions: JSONL of ``{"question", "answers"}``, optionally ``"entity"``, ``"property"``.

    Raises:
        ConfigError: A file is missing or empty, a line is no question, a question that is to be
            refused has an answer among the facts, or no question has one.
        FactError: A line is no fact.
    """
    for path, what in ((facts, "facts"), (questions, "questions")):
        if not Path(path).is_file():
            raise ConfigError(f"Expected a JSONL file of {what} at {path}, there is none.")
    found = {(t.entity, t.property, t.value): t for t in JsonlSource(facts).triples()}
    reader = _Reader(tuple(found.values()))
    asked = [reader.question(row, where) for row, where in _rows(Path(questions))]
    known = tuple(question for question in asked if question is not None)
    if len(known) < len(asked):
        _log.warning(
            "%d of %d questions in %s have an answer that no fact in %s holds; they are left out.",
            len(asked) - len(known), len(asked), questions, facts,
        )  # fmt: skip
    if not known:
        raise ConfigError(
            f"Expected questions in {questions} that the facts in {facts} answer, or that have "
            "no answers; there are none. Compare the files' entities and properties."
        )
    return Own(reader.facts, known)


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


def _rows(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """The questions of a file, checked, and where each stands."""
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                message = f"Expected {_FORM} in {where}, which is no JSON: {error}."
                raise ConfigError(message) from error
            if not isinstance(row, dict) or not _is_question(row):
                raise ConfigError(f"Expected {_FORM} in {where}, got {line.strip():.200}.")
            yield row, where


def _is_question(row: dict[str, Any]) -> bool:
    answers = row.get("answers")
    return (
        _is_text(row.get("question"))
        and isinstance(answers, list)
        and all(map(_is_text, answers))
        and all(row.get(name) is None or _is_text(row[name]) for name in ("entity", "property"))
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


class _Reader:
    """Finds the facts that answer questions, and words the answers."""

    def __init__(self, facts: tuple[Triple, ...]) -> None:
        self.facts = facts
        self._by_entity: dict[str, list[int]] = defaultdict(list)
        self._by_value: dict[str, list[int]] = defaultdict(list)
        for index, fact in enumerate(facts):
            self._by_entity[_fold(fact.entity)].append(index)
            self._by_value[_fold(fact.value)].append(index)

    def question(self, row: dict[str, Any], where: str) -> TrainingQuestion | None:
        """The question of a line, or None if no fact answers it although it has answers."""
        answers = list(dict.fromkeys(map(_fold, row["answers"])))
        gold = self._gold(row, answers)
        if answers and not gold:
            return None
        if gold and not answers:
            fact = self.facts[gold[0]]
            raise ConfigError(
                f"Expected a question that no fact answers in {where}, as it has no answers, but "
                f"there is the fact {fact.statement!r} Remove one of the two."
            )
        entity = _fold(row.get("entity") or (self.facts[gold[0]].entity if gold else ""))
        near = [index for index in self._by_entity.get(entity, ()) if index not in gold]
        return TrainingQuestion(
            question=row["question"].strip(),
            gold=gold,
            answer=told(self.facts, gold),
            kind="own" if gold else "unanswerable",
            near=tuple(near[:_NEAR]),
        )

    def _gold(self, row: dict[str, Any], answers: list[str]) -> tuple[int, ...]:
        entity, name = row.get("entity"), row.get("property")
        if entity is not None:
            about = list(self._by_entity.get(_fold(entity), ()))
        else:
            text = _fold(row["question"])
            about = [i for answer in answers for i in self._by_value.get(answer, ())]
            about = [i for i in about if _fold(self.facts[i].entity) in text]
        if name is not None:
            about = [i for i in about if _fold(self.facts[i].property) == _fold(name)]
        exact = tuple(i for i in about if _fold(self.facts[i].value) in answers)
        # Of entity and property alike, the question is about these facts, however they are spelled.
        return exact or (tuple(about) if entity is not None and name is not None else ())


def _fold(text: str) -> str:
    """Without differences of case, spaces and typography."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
