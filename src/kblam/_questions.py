"""Questions with their answers, and the facts that answer them, as files hold both.

Training and evaluation read the same files, and mean the same facts by a question.
"""

from __future__ import annotations

import builtins
import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kblam.errors import ConfigError
from kblam.knowledge import JsonlSource, Triple

__all__ = [
    "FactsAsked",
    "Question",
    "find_gold",
    "fold",
    "identity",
    "load_facts",
    "load_questions",
    "place",
]

_QUESTION_FORM = '{"question": "...", "answers": ["..."]}, optionally "entity" and "property"'
# Typographic variants that NFKC leaves apart and that no reader would call another answer.
_TYPOGRAPHY = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-"}
)


def fold(text: str) -> str:
    """Even out case, spaces and typography, and keep everything else.

    Args:
        text: Any string.

    Returns:
        The text in NFKC form and case-folded, with plain quotes and dashes and single spaces.
    """
    folded = unicodedata.normalize("NFKC", text).translate(_TYPOGRAPHY).casefold()
    # Folding the case can take a string out of NFKC form (U+0345 does), so it is put back.
    return " ".join(unicodedata.normalize("NFKC", folded).split())


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


def place(path: str | Path, index: int) -> str:
    """Where a question stands, for messages."""
    return f"{path}, line {index + 1}"


def _read_questions(path: Path) -> Iterator[Question]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            where = place(path, number)
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
        told = row.get(name)
        if told is not None and not (isinstance(told, str) and told.strip()):
            raise ConfigError(f'Expected a non-empty string "{name}" in {where}, got {told!r}.')
    return Question(
        text=text.strip(),
        answers=tuple(answers),
        entity=row.get("entity"),
        property=row.get("property"),
        index=index,
    )


class FactsAsked:
    """Finds the facts that questions are about.

    Args:
        facts: Each once.
    """

    def __init__(self, facts: Iterable[Triple]) -> None:
        self.facts = tuple(facts)
        self._by_entity: dict[str, list[int]] = defaultdict(list)
        self._by_value: dict[str, list[int]] = defaultdict(list)
        for index, fact in enumerate(self.facts):
            self._by_entity[fold(fact.entity)].append(index)
            self._by_value[fold(fact.value)].append(index)

    def about(self, entity: str, name: str | None = None) -> list[int]:
        """The places of the facts of an entity, or of one property of it."""
        return self._of(name, self._by_entity.get(fold(entity), ()))

    def answering(self, question: Question) -> tuple[int, ...]:
        """The places of the facts that answer a question, as `find_gold` has it."""
        answers = {fold(answer): None for answer in question.answers}
        if not answers:
            return ()
        if question.entity is None:
            text = fold(question.text)
            holding = (i for answer in answers for i in self._by_value.get(answer, ()))
            named = [i for i in holding if fold(self.facts[i].entity) in text]
            about = self._of(question.property, named)
        else:
            about = self.about(question.entity, question.property)
        exact = tuple(i for i in about if fold(self.facts[i].value) in answers)
        # Of entity and property alike, the question is about these facts, however they are spelled.
        return exact if exact or question.property is None else tuple(about)

    def _of(self, name: str | None, places: Sequence[int]) -> list[int]:
        return [i for i in places if name is None or fold(self.facts[i].property) == fold(name)]


def find_gold(facts: Iterable[Triple], questions: Sequence[Question]) -> list[tuple[Triple, ...]]:
    """Find the facts that answer each question.

    A gold fact has the question's entity and property and one of its answers as value. Where the
    answers are spelled otherwise than the values, all facts of that entity and property are gold;
    where a question names no entity, the fact's entity must occur in the question's text.

    Returns:
        The gold facts of each question, none for unanswerable ones.
    """
    asked = FactsAsked(facts)
    return [tuple(asked.facts[i] for i in asked.answering(q)) for q in questions]
