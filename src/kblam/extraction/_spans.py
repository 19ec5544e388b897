"""Where in a text a fact is stated."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Evidence", "find_evidence", "sentences", "spelled_in"]

# A sentence ends at a full stop before a capital, at an empty line, before an item of a list.
_END = re.compile(
    r"[.!?]+[\"'\u201d\u2019)\]]*(?=\s+[\"'\u201c\u2018(\[]?[A-Z0-9])|\n\s*\n|\n(?=\s*(?:[-*#]|\d+\.)\s)"
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[A-Z]|Dr|Mrs?|Ms|Prof|St|Inc|Corp|Ltd|Co|Jr|Sr|No|vs|etc|e\.g|i\.e|approx)\.$"
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The place of a fact.

    Attributes:
        start: Its first character.
        end: One past its last.
        complete: Whether the text names both the entity and the value.
    """

    start: int
    end: int
    complete: bool


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of a text's sentences, without the white space around them."""
    start = 0
    for found in _END.finditer(text):
        if found[0].startswith(".") and _ABBREVIATION.search(text[start : found.end()]):
            continue
        yield from _trimmed(text, start, found.end())
        start = found.end()
    yield from _trimmed(text, start, len(text))


def find_evidence(text: str, entity: str, value: str) -> Evidence | None:
    """Find the sentence that states a fact.

    The first one that names both the entity and the value; else the one that names the value
    (where the entity is named nearby, in the same text); else the one that names either.

    Returns:
        None if the text names neither.
    """
    entities = [found.start() for found in _mentions(text, entity)]
    values = [found.start() for found in _mentions(text, value)]
    best: tuple[int, int, int] | None = None
    for start, end in sentences(text):
        named = _within(entities, start, end)
        valued = _within(values, start, end)
        rank = 2 * valued + named
        if rank and (best is None or rank > best[0]):
            best = (rank, start, end)
    if best is None:
        return None
    return Evidence(best[1], best[2], complete=bool(entities and values))


def spelled_in(text: str, name: str) -> str:
    """Return a name as the text spells it, where only capitals and spaces differ."""
    if name in text:
        return name
    found = next(_mentions(text, name), None)
    return name if found is None else " ".join(found[0].split())


def _within(places: list[int], start: int, end: int) -> bool:
    """Tell whether one of the places, which are in order, lies in a span."""
    first = bisect_left(places, start)
    return first < len(places) and places[first] < end


def _mentions(text: str, name: str) -> Iterator[re.Match[str]]:
    words = re.split(r"[\s_]+", name.strip())
    pattern = r"[\s_]+".join(re.escape(word) for word in words)
    return re.finditer(rf"(?<!\w){pattern}(?!\w)", text, re.IGNORECASE)


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    part = text[start:end]
    if part.strip():
        yield start + len(part) - len(part.lstrip()), start + len(part.rstrip())
