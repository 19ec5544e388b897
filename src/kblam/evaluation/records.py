"""What came of each question."""

from __future__ import annotations

import builtins
import dataclasses
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kblam._questions import Question, identity
from kblam.evaluation import metrics
from kblam.evaluation.answering import Reply
from kblam.evaluation.refusal import is_refusal
from kblam.knowledge import Triple

__all__ = ["QuestionRecord", "score"]

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
        entity: What the question is about, where its file tells.
        property: What it asks for, where its file tells.
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
    entity: str | None = None
    property: str | None = None

    @builtins.property  # the field above takes the plain name
    def answerable(self) -> bool:
        """Whether the facts answer the question."""
        return bool(self.answers)

    @builtins.property
    def asked(self) -> tuple[str, tuple[str, ...], str | None, str | None]:
        """What the question's line says, which decides on the gold facts too."""
        return self.question, self.answers, self.entity, self.property

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
    wanted = {identity(fact) for fact in gold}
    places = [
        place
        for place, fact in enumerate(itertools.islice(ranking or (), RANKED), start=1)
        if identity(fact) in wanted
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
        entity=question.entity,
        property=question.property,
    )
