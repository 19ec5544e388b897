"""What is in a store, and what in it looks wrong."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from itertools import islice
from typing import Any

from kblam import _html
from kblam.knowledge.triple import Fact

__all__ = ["StoreReport", "report"]

# An encoder embeds some 200 words of a text; one vector tells fewer of them apart.
_LONG = 1000
_SHOWN = 10


@dataclass(frozen=True)
class StoreReport:
    """What is in a store.

    Attributes:
        facts: How many.
        entities: How many different ones.
        properties: Facts of each, most common first.
        alike_facts: Groups of facts that differ in case, accents or punctuation only.
        alike_entities: Groups of names that differ in these only.
        several_values: How many properties of an entity have more than one value.
        most_values: Those with the most: entity, property, number.
        long_values: Facts whose value has more than 1,000 characters, which a vector tells
            little of.
    """

    facts: int
    entities: int
    properties: Mapping[str, int]
    alike_facts: tuple[tuple[Fact, ...], ...]
    alike_entities: tuple[tuple[str, ...], ...]
    several_values: int
    most_values: tuple[tuple[str, str, int], ...]
    long_values: tuple[Fact, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values; facts by their identifiers."""
        return {
            "facts": self.facts,
            "entities": self.entities,
            "properties": dict(self.properties),
            "alike_facts": [[fact.id for fact in group] for group in self.alike_facts],
            "alike_entities": [list(names) for names in self.alike_entities],
            "several_values": self.several_values,
            "most_values": [list(found) for found in self.most_values],
            "long_values": [fact.id for fact in self.long_values],
        }

    def oddities(self) -> Iterable[tuple[str, str]]:
        """What may be wrong or hard to read: the name of each finding, and what was found."""
        if self.several_values:
            most = (f"{entity}: {name} ({n})" for entity, name, n in self.most_values)
            yield "With several values", f"{self.several_values:,}, most of all {_some(most)}"
        if self.alike_facts:
            groups = (" = ".join(f.statement for f in group) for group in self.alike_facts)
            yield "Facts written twice", f"{len(self.alike_facts):,}: {_some(groups)}"
        if self.alike_entities:
            groups = (" = ".join(names) for names in self.alike_entities)
            yield "Names written in several ways", f"{len(self.alike_entities):,}: {_some(groups)}"
        if self.long_values:
            longest = (f"{fact.entity}: {fact.property}" for fact in self.long_values)
            yield "Very long values", f"{len(self.long_values):,}: {_some(longest)}"

    def __str__(self) -> str:
        return "\n".join(f"{name}: {text}" for name, text in self._lines())

    def _repr_html_(self) -> str:
        rows = [(escape(name), escape(text)) for name, text in self._lines()]
        return _html.box(_html.table(rows))

    def _lines(self) -> Iterable[tuple[str, str]]:
        yield "Facts", f"{self.facts:,} about {self.entities:,} entities"
        yield "Properties", _some(f"{name} ({n:,})" for name, n in self.properties.items())
        yield from self.oddities()


def report(facts: Iterable[Fact]) -> StoreReport:
    """Look through facts once.

    Args:
        facts: Of a store.
    """
    properties: Counter[str] = Counter()
    names: dict[str, dict[str, None]] = {}
    same: dict[tuple[str, str, str], list[Fact]] = {}
    values: Counter[tuple[str, str]] = Counter()
    long: list[Fact] = []
    total = 0
    for fact in facts:
        total += 1
        properties[fact.property] += 1
        values[fact.entity, fact.property] += 1
        names.setdefault(_folded(fact.entity), {})[fact.entity] = None
        parts = (fact.entity, fact.property, fact.value)
        same.setdefault((_folded(parts[0]), _folded(parts[1]), _folded(parts[2])), []).append(fact)
        if len(fact.value) > _LONG:
            long.append(fact)
    several = [(entity, name, n) for (entity, name), n in values.items() if n > 1]
    return StoreReport(
        facts=total,
        entities=sum(map(len, names.values())),
        properties=dict(properties.most_common()),
        alike_facts=tuple(tuple(group) for group in same.values() if len(group) > 1),
        alike_entities=tuple(tuple(group) for group in names.values() if len(group) > 1),
        several_values=len(several),
        most_values=tuple(sorted(several, key=lambda found: -found[2])[:_SHOWN]),
        long_values=tuple(long),
    )


def _folded(text: str) -> str:
    """Return letters, digits and the signs of numbers, without case and accents."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    kept = "".join(c for c in plain if c.isalnum() or c in ".,+-/%" or c.isspace())
    # A name of nothing but signs is itself.
    return " ".join(kept.strip(" .,").split()) or text


def _some(texts: Iterable[str]) -> str:
    texts = iter(texts)
    shown = [f"{text[:200]}..." if len(text) > 200 else text for text in islice(texts, _SHOWN)]
    more = sum(1 for _ in texts)
    return "; ".join(shown) + (f"; and {more:,} more" if more else "")
