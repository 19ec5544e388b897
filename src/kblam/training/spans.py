"""What of a training answer is copied: values, and the names of entities and properties."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kblam.config import COPY_PARTS
from kblam.knowledge import Triple
from kblam.training.data import TrainingQuestion

__all__ = ["Span", "answer_spans"]

_VALUE, _ENTITY, _PROPERTY = (COPY_PARTS.index(part) for part in ("value", "entity", "property"))


@dataclass(frozen=True)
class Span:
    """A piece of an answer.

    Attributes:
        text: What it says; of words, with their own spaces.
        fact: The fact that it is copied from, an index into the corpus, or None for words.
        part: Which of the fact's texts, a position in :data:`~kblam.config.COPY_PARTS`.
    """

    text: str
    fact: int | None = None
    part: int = _VALUE


def answer_spans(facts: Sequence[Triple], question: TrainingQuestion) -> list[Span]:
    """Split an answer into what the model writes and what it copies.

    Before a value, the names of its entity and property are copied where they stand there as
    the store has them, a verb with what belongs to it ("was founded in").

    Args:
        facts: The corpus's.
        question: With an answer.
    """
    spans: list[Span] = []
    for position, part in enumerate(question.answer):
        if isinstance(part, int):
            spans.append(Span(facts[part].value_text, part))
            continue
        following = question.answer[position + 1 : position + 2]
        if following and isinstance(following[0], int):
            spans += _named(part, following[0], facts[following[0]])
        else:
            spans.append(Span(part))
    return spans


def _named(words: str, index: int, fact: Triple) -> list[Span]:
    """The words before a value, split at the names of its entity and its property."""
    places, rest = [], words
    if (found := _find(fact.entity_text, words)) is not None:
        start, end = found
        places.append((found, _ENTITY))
        # The name of an entity can hold that of the property: Capital Bank.
        rest = words[:start] + "\0" * (end - start) + words[end:]
    # Stores differ in capitals, which nobody minds: CEO, ceo.
    if (found := _find(fact.named_text, rest, re.IGNORECASE)) is not None:
        places.append((found, _PROPERTY))
    spans, done = [], 0
    for (start, end), part in sorted(places):
        if start > done:
            spans.append(Span(words[done:start]))
        text = fact.entity_text if part == _ENTITY else fact.named_text
        spans.append(Span(text, index, part))
        done = end
    return [*spans, Span(words[done:])] if words[done:].strip() else spans


def _find(name: str, words: str, flags: int = 0) -> tuple[int, int] | None:
    found = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", words, flags)
    return None if found is None else found.span()
