"""What came of each question, and a file of it that a later run continues."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from kblam.errors import ConfigError
from kblam.evaluation import metrics
from kblam.evaluation.methods import Reply
from kblam.evaluation.refusal import is_refusal
from kblam.evaluation.tasks import Question
from kblam.knowledge import Triple

__all__ = ["QuestionRecord", "RecordFile", "score"]

# How many of the best-ranked facts are looked at.
RANKED = 5


@dataclass(frozen=True)
class QuestionRecord:
    """One question, its reply and the reply's measures.

    Attributes:
        index: The question's line in its file, counted from 0.
        question: The question.
        answers: Accepted answers; none means that a refusal is right.
        reply: The reply.
        refused: Whether the reply counts as a refusal.
        rank: Place of the first gold fact among the best five, from 1; None if not there.
        ranked: Whether there is a rank to speak of: the question has a gold fact and the
            method ranks facts.
        exact_match: The whole reply is an answer, normalised.
        contains: An answer occurs in the reply.
        value_once: An answer stands in the reply once, letter by letter.
        token_f1: Overlap with the best answer.
        input_tokens: Length of the prompt.
        output_tokens: Length of the reply.
        seconds: To the end of the reply; None if not timed.
        time_to_first_token: Seconds to the first token; None if not timed.
    """

    index: int
    question: str
    answers: tuple[str, ...]
    reply: str
    refused: bool
    rank: int | None
    ranked: bool
    exact_match: bool
    contains: bool
    value_once: bool
    token_f1: float
    input_tokens: int
    output_tokens: int
    seconds: float | None
    time_to_first_token: float | None

    @property
    def answerable(self) -> bool:
        """Whether the facts answer the question."""
        return bool(self.answers)

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-able values."""
        return dataclasses.asdict(self) | {"answers": list(self.answers)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> QuestionRecord:
        """The record that `to_dict` gave."""
        return cls(**(values | {"answers": tuple(values["answers"])}))


def score(
    question: Question,
    gold: Iterable[Triple],
    ranking: Iterable[Triple] | None,
    reply: Reply,
    refusal: str,
) -> QuestionRecord:
    """Measure a reply.

    Args:
        question: The question.
        gold: The facts that answer it.
        ranking: The facts that the method ranks best, best first; None if it ranks none.
        reply: The reply.
        refusal: The sentence to refuse with.
    """
    wanted = {(fact.entity, fact.property, fact.value) for fact in gold}
    places = [
        place
        for place, fact in enumerate(itertools.islice(ranking or (), RANKED), start=1)
        if (fact.entity, fact.property, fact.value) in wanted
    ]
    return QuestionRecord(
        index=question.index,
        question=question.text,
        answers=question.answers,
        reply=reply.text,
        refused=is_refusal(reply.text, refusal, flagged=reply.refused),
        rank=min(places, default=None),
        ranked=bool(wanted) and ranking is not None,
        exact_match=metrics.exact_match(reply.text, question.answers),
        contains=metrics.contains(reply.text, question.answers),
        value_once=metrics.value_once(reply.text, question.answers),
        token_f1=metrics.token_f1(reply.text, question.answers),
        input_tokens=reply.input_tokens,
        output_tokens=reply.output_tokens,
        seconds=reply.seconds,
        time_to_first_token=reply.time_to_first_token,
    )


class RecordFile:
    """A JSONL file: the settings first, then a record a line, each written at once.

    Args:
        path: The file; None keeps nothing.
        settings: The settings that the records depend on.

    Raises:
        ConfigError: The file holds records of other settings, or is none of these files.
    """

    def __init__(self, path: Path | None, settings: dict[str, Any]) -> None:
        self.records: dict[int, QuestionRecord] = {}
        self._path = path
        self._settings = settings
        self._file: TextIO | None = None
        if path is not None and path.is_file() and path.stat().st_size:
            self._read(path)

    def _read(self, path: Path) -> None:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        try:
            header = json.loads(lines[0])["settings"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ConfigError(
                f"Expected {path} to begin with the settings of an evaluation, but it does not. "
                "Give another file to resume from, or a new one."
            ) from error
        changed = sorted(k for k in self._settings if header.get(k) != self._settings[k])
        if changed:
            raise ConfigError(
                f"Expected {path} to hold answers of the same evaluation, but these settings "
                f"differ: {', '.join(changed)}. Give another file, or the settings it was "
                "written with."
            )
        for line in lines[1:]:
            # A killed run may have left its last line unfinished.
            if line.endswith("\n"):
                record = QuestionRecord.from_dict(json.loads(line))
                self.records[record.index] = record

    def __enter__(self) -> RecordFile:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Written anew, so that an unfinished last line is gone before the next one follows;
            # replaced as a whole, so that a kill at this moment loses nothing either.
            lines = [{"settings": self._settings}] + [r.to_dict() for r in self.records.values()]
            fresh = self._path.with_name(self._path.name + ".new")
            fresh.write_text("".join(map(_line, lines)), encoding="utf-8")
            fresh.replace(self._path)
            self._file = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def has(self, question: Question) -> bool:
        """Whether a question was answered already.

        Raises:
            ConfigError: The record is of another question: the questions' file has changed.
        """
        record = self.records.get(question.index)
        if record is not None and (record.question, record.answers) != (
            question.text,
            question.answers,
        ):
            raise ConfigError(
                f"Expected {self._path} to hold answers to the same questions, but its question "
                f"{question.index} is {record.question!r}, now it is {question.text!r}. "
                "Give a new file to resume from."
            )
        return record is not None

    def add(self, record: QuestionRecord) -> None:
        """Keep a record."""
        self.records[record.index] = record
        if self._file is not None:
            self._file.write(_line(record.to_dict()))
            self._file.flush()


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"
