"""Questions with their answers, and the facts that answer them, as files hold both.

Training and evaluation read the same files, and mean the same facts by a question.
"""

from __future__ import annotations

import builtins
import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kblam.encoding._naming import AskedNames, folded
from kblam.errors import ConfigError
from kblam.knowledge import JsonlSource, Triple, term_words
from kblam.knowledge._json_lines import json_lines, parse_json
from kblam.knowledge._words import property_words
from kblam.knowledge.triple import is_text

__all__ = [
    "FactsAsked",
    "Question",
    "file_content",
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

    @builtins.property
    def asked(self) -> tuple[str, tuple[str, ...], str | None, str | None]:
        """All that its line says: where one of these is another, so is the question."""
        return self.text, self.answers, self.entity, self.property


def identity(fact: Triple) -> tuple[str, str, str]:
    """What makes two facts the same one, whatever their ids."""
    return fact.entity, fact.property, fact.value


def load_facts(path: str | Path) -> list[Triple]:
    """Read facts from JSONL, each triple once.

    Raises:
        ConfigError: The file is missing or has no facts.
        FactError: A line is not a fact; the message names the line.
        SourceError: The file cannot be read, or is not UTF-8.
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
        SourceError: The file cannot be read, or is not UTF-8.
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


def file_content(path: str | Path, what: str) -> dict[str, str]:
    """A file by what it holds, as it may be written anew under its name.

    Args:
        path: The file.
        what: What it holds, for the message.

    Returns:
        Its name, without the folder, and the SHA-256 of its bytes.

    Raises:
        ConfigError: It is missing.
    """
    path = _existing(path, what)
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def place(path: str | Path, index: int) -> str:
    """Where a question stands, for messages."""
    return f"{path}, line {index + 1}"


def _read_questions(path: Path) -> Iterator[Question]:
    for number, line in json_lines(path):
        where = place(path, number - 1)
        try:
            row = parse_json(line)
        except ValueError as error:
            raise ConfigError(
                f"Expected one JSON object a line like {_QUESTION_FORM}; "
                f"{where} is not JSON: {error}."
            ) from error
        yield _parse_question(row, index=number - 1, where=where)


def _parse_question(row: Any, *, index: int, where: str) -> Question:
    if not isinstance(row, Mapping):
        raise ConfigError(f"Expected {_QUESTION_FORM} in {where}, got a {type(row).__name__}.")
    text, answers = row.get("question"), row.get("answers")
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f'Expected a non-empty string "question" in {where}, got {text!r:.200}.')
    if not isinstance(answers, list) or not all(isinstance(a, str) and a.strip() for a in answers):
        raise ConfigError(
            f'Expected a list of non-empty strings "answers" in {where}, got {answers!r:.200}. '
            "An empty list means that the right reply is a refusal."
        )
    for name in ("entity", "property"):
        told = row.get(name)
        if told is not None and not (isinstance(told, str) and told.strip()):
            raise ConfigError(
                f'Expected a non-empty string "{name}" in {where}, got {told!r:.200}.'
            )
    _check_text(where, text, *answers, row.get("entity") or "", row.get("property") or "")
    return Question(
        text=text.strip(),
        answers=tuple(answers),
        entity=row.get("entity"),
        property=row.get("property"),
        index=index,
    )


def _check_text(where: str, *parts: str) -> None:
    """Refuse what no fact can hold and no tokenizer reads, before hours of work."""
    for part in parts:
        if not is_text(part):
            raise ConfigError(
                f"Expected text in {where}, got a character that is none (NUL or half a surrogate "
                f"pair): {part!r:.100}. Remove it first."
            )


class FactsAsked:
    """Finds the facts that questions are about.

    Files may spell entities, properties and values as a store does (``launchCode``, an IRI) or in
    words ("launch code"): both are the same.

    Args:
        facts: Each once.
    """

    def __init__(self, facts: Iterable[Triple]) -> None:
        self.facts = tuple(facts)
        self._by_entity: dict[str, list[int]] = defaultdict(list)
        self._by_value: dict[str, list[int]] = defaultdict(list)
        for index, fact in enumerate(self.facts):
            for entity in {fold(fact.entity), fold(fact.entity_text)}:
                self._by_entity[entity].append(index)
            for value in _values(fact):
                self._by_value[value].append(index)

    def about(self, entity: str, name: str | None = None) -> list[int]:
        """The places of the facts of an entity, or of one property of it."""
        written, words = fold(entity), fold(term_words(entity))
        # What is spelled alike comes first: two vocabularies may have one word for two things.
        found = self._by_entity.get(written) or self._by_entity.get(words) or []
        return self._of(name, found)

    def answering(self, question: Question) -> tuple[int, ...]:
        """The places of the facts that answer a question, as `find_gold` has it."""
        answers = {fold(answer): None for answer in question.answers}
        if not answers:
            return ()
        if question.entity is None:
            holding = (i for answer in answers for i in self._by_value.get(answer, ()))
            named = self._named(question.text, list(dict.fromkeys(holding)))
            about = self._of(question.property, named)
        else:
            about = self.about(question.entity, question.property)
        exact = tuple(i for i in about if not answers.keys().isdisjoint(_values(self.facts[i])))
        # Of entity and property alike, the question is about these facts, however they are spelled.
        return exact if exact or question.property is None else tuple(about)

    def _of(self, name: str | None, places: Sequence[int]) -> list[int]:
        if name is None:
            return list(places)
        wanted = fold(property_words(name))
        return [i for i in places if fold(self.facts[i].property_text) == wanted]

    def _named(self, text: str, places: Sequence[int]) -> list[int]:
        """Those of some facts whose entity a text names, not merely within a longer name."""
        asked = AskedNames(fold(text))
        names = {i: folded(fold(self.facts[i].entity_text)) for i in places}
        there = {name for name in names.values() if asked.has(name)[1] == 1.0}
        there -= asked.within_others(there)
        return [i for i in places if names[i] in there]


def _values(fact: Triple) -> set[str]:
    return {fold(fact.value), fold(fact.value_text)}


def find_gold(facts: Iterable[Triple], questions: Sequence[Question]) -> list[tuple[Triple, ...]]:
    """Find the facts that answer each question.

    A gold fact has the question's entity and property and one of its answers as value. Where the
    answers are spelled otherwise than the values, all facts of that entity and property are gold.
    Where a question's line tells no entity, its text must name the fact's: whole words, and not
    only as a part of another such fact's longer name.

    Returns:
        The gold facts of each question, none for unanswerable ones.
    """
    asked = FactsAsked(facts)
    return [tuple(asked.facts[i] for i in asked.answering(q)) for q in questions]
