"""Triple sources over what Python reads by itself: lists, JSON lines, CSV."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any

from kblam.errors import FactError
from kblam.knowledge._csv import CsvSource
from kblam.knowledge._files import PARTS, FileSource, located
from kblam.knowledge._json_lines import json_lines, parse_json
from kblam.knowledge.protocols import TripleSource, VersionedSource
from kblam.knowledge.triple import Triple

__all__ = ["CsvSource", "JsonlSource", "ListSource", "SeveralSources", "TripleLike"]

TripleLike = Triple | tuple[str, str, str] | Mapping[str, Any]


class ListSource:
    """Triples that are in memory already.

    Args:
        items: Triples, tuples (entity, property, value) or mappings with these keys.
    """

    def __init__(self, items: Iterable[TripleLike]) -> None:
        self._items = list(items)

    def triples(self) -> Iterator[Triple]:
        """Read every triple from the beginning.

        Raises:
            FactError: An item is no triple; the message counts the items from 0.
        """
        for index, item in enumerate(self._items):
            yield located(item, f"Item {index}")

    def count(self) -> int:
        """Return the number of items."""
        return len(self._items)


class JsonlSource(FileSource):
    """A file with one JSON object a line: entity, property, value, optionally id and metadata.

    Numbers are taken as they are written: 6.80 stays 6.80.

    Args:
        path: The file, UTF-8.

    Raises:
        SourceError: There is no such file.
    """

    def triples(self) -> Iterator[Triple]:
        """Read every triple from the beginning.

        Raises:
            FactError: A line is no fact; the message names file and line.
            SourceError: The file cannot be read, or is not UTF-8.
        """
        for number, line in json_lines(self.path):
            place = f"{self.path}, line {number}"
            yield located(_parsed(line, place), place)


class SeveralSources:
    """Several sources as one: the tables of a database, a graph and a file.

    What two of them say alike is one fact, with the metadata that the first gives it.

    Args:
        sources: In the order in which they are read.
    """

    def __init__(self, *sources: TripleSource) -> None:
        self._sources = sources

    def triples(self) -> Iterator[Triple]:
        """Read every triple of every source."""
        for source in self._sources:
            yield from source.triples()

    def count(self) -> int | None:
        """Return how many triples all have together, None if one does not know."""
        counts = [source.count() for source in self._sources]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def state(self) -> Hashable:
        """Return the states of all, None if one cannot tell."""
        states = [
            source.state() if isinstance(source, VersionedSource) else None
            for source in self._sources
        ]
        return None if None in states else tuple(states)

    def __repr__(self) -> str:
        return f"SeveralSources({', '.join(map(repr, self._sources))})"


class _Number(float):
    """A number of a JSON text that remembers how it was written."""

    def __new__(cls, text: str) -> _Number:
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str


def _parsed(line: str, place: str) -> Any:
    try:
        item = parse_json(line, parse_float=_Number, parse_constant=_no_number)
    except ValueError as error:
        raise FactError(f"{place}: expected a JSON object, got {line!r:.100} ({error}).") from error
    if isinstance(item, dict):
        for key in (*PARTS, "id"):
            if isinstance(item.get(key), _Number):
                item[key] = item[key].text
    return item


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON; leave the fact out")
