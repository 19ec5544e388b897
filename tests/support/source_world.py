"""A small world that every kind of source can hold: entities, what they are like, how they relate.

Names and values are what stores meet: several scripts, quotes, line breaks, SQL in disguise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from kblam.knowledge import Triple, verbalise

Words = tuple[str, str, str]

BIG = 15_000  # more than the 10,000 rows at which servers like to cut


@dataclass(frozen=True)
class Relation:
    """An edge between two entities of the world, named as they are."""

    subject: str
    label: str
    target: str
    properties: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class World:
    """Entities by name with the values of their properties, and relations between them.

    Property names and labels are words ("launch code"): write them as the store's users do
    (``launch_code``, ``launchCode``, ``LAUNCH_CODE``), see :func:`snake` and :func:`camel`.
    """

    entities: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    relations: Sequence[Relation] = ()

    def facts(self) -> set[Words]:
        """Return what a source of this world says, in words."""
        found = {
            (name, key, text)
            for name, properties in self.entities.items()
            for key, values in properties.items()
            for text in map(words, values)
            if text
        }
        for relation in self.relations:
            found.add((relation.subject, relation.label, relation.target))
            statement = f"{relation.subject} {relation.label} {relation.target}"
            found |= {(statement, key, words(item)) for key, item in relation.properties.items()}
        return found

    def single(self) -> World:
        """Return the world with the first value of each property and relation only."""
        entities = {
            name: {key: values[:1] for key, values in properties.items()}
            for name, properties in self.entities.items()
        }
        first: dict[tuple[str, str], Relation] = {}
        for relation in self.relations:
            first.setdefault((relation.subject, relation.label), relation)
        return replace(self, entities=entities, relations=list(first.values()))

    def plain(self) -> World:
        """Return the world with relations that have no properties."""
        return replace(self, relations=[replace(item, properties={}) for item in self.relations])

    def triples(self) -> list[tuple[str, str, Any]]:
        """Return properties and relations alike, values as they are."""
        said = [
            (name, key, value)
            for name, properties in self.entities.items()
            for key, values in properties.items()
            for value in values
        ]
        return said + [(item.subject, item.label, item.target) for item in self.relations]


def small_world() -> World:
    """Return the world that every source is built of."""
    people: dict[str, dict[str, list[Any]]] = {
        "Mirela Osei": {"born": [date(1968, 5, 3)], "languages": ["English", "Akan", "hrvatski"]},
        "Łukasz Wójcik": {"born": [date(1990, 12, 31)], "languages": ["polski"]},
        "王小明": {"motto": ["学而时习之"], "height": [1.75]},
        "نجيب محفوظ": {"motto": ["كلمة"], "born": [date(1911, 12, 11)]},
        "Zoë 🦊 O'Brien": {"motto": ["Say \"no\" — 'twice'"]},
    }
    things: dict[str, dict[str, list[Any]]] = {
        "Aurora": {
            "launch code": ["QX-7719"],
            "budget": [48_200],
            "share": [Decimal("6.80")],
            "active": [True],
            "homepage": ["https://aurora.example/AboutUs?x=1&y=%20"],
        },
        "Borealis": {"budget": [0], "motto": ["first line\nsecond line\twith a tab\\n"]},
        "Robert'); DROP TABLE facts;--": {"motto": ['{"a": [1, "b"]} ${x} <b>&amp;</b> %s']},
        "New\nLine, Ltd": {"description": ["long " * 4_000 + "end"]},
    }
    relations = [
        Relation("Mirela Osei", "leads", "Aurora", {"since": 1998}),
        Relation("Łukasz Wójcik", "leads", "Borealis", {"since": 2011}),
        Relation("王小明", "works at", "New\nLine, Ltd"),
        Relation("王小明", "works at", "Robert'); DROP TABLE facts;--"),
        Relation("Zoë 🦊 O'Brien", "works at", "Robert'); DROP TABLE facts;--"),
        Relation("Borealis", "part of", "Aurora"),
    ]
    return World({**people, **things}, relations)


def big_world(facts: int = BIG) -> World:
    """Return a world of so many facts: three properties each of a third as many entities."""
    return World(
        {
            f"Station {i:05}": {
                "code": [f"S-{i * 7919 % 100_003}"],
                "capacity": [i],
                "region": [f"region {i % 97}"],
            }
            for i in range(facts // 3)
        }
    )


def words(value: Any) -> str:
    """Return a value as a fact says it, "" for none."""
    if value is None:
        return ""
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    return str(value).strip()


def snake(name: str) -> str:
    """Return "launch code" as ``launch_code``."""
    return name.replace(" ", "_")


def camel(name: str) -> str:
    """Return "launch code" as ``launchCode``."""
    first, *rest = name.split()
    return first + "".join(word.capitalize() for word in rest)


def in_words(triple: Triple) -> Words:
    """Return what a triple says, however its source spells properties."""
    entity, key, value = triple.entity_text, triple.property_text, triple.value_text
    return (entity, verbalise(key), value)
