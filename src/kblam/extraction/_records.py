"""The entities that facts speak of, as records to be compared with each other."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from kblam.extraction._names import NameParts, name_parts, plain_words
from kblam.knowledge import Triple, verbalise

__all__ = [
    "Record",
    "compatible",
    "entity_valued",
    "make_records",
    "plain_value",
    "rare_facts",
    "single_valued",
    "texts",
]

TYPE = "type"
# A property is judged by at least so many entities that have it.
_ENOUGH = 5
_EXCEPTIONS = 0.03
_SHARED_BY_FEW = 5
_MONTH_NAMES = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_MONTHS = {
    name: str(number)
    for number, month in enumerate(_MONTH_NAMES, start=1)
    for name in (month, month[:3])
}
# One value each, whatever the data: too few facts may be there to judge from.
_ALWAYS_SINGLE = re.compile(
    r"\b(birth|born|death|died|founded|established|inception|age|height|weight|isbn|issn|"
    r"email|phone|population|capacity|serial|identifier|id|code)\b"
)


@dataclass(slots=True)
class Record:
    """What is known of one name.

    Attributes:
        name: As the facts spell it.
        parts: The name taken apart.
        mentions: How many facts it occurs in.
        types: What it is said to be.
        facts: Property and value of its facts, the value in plain words.
        documents: Where it occurs.
    """

    name: str
    parts: NameParts
    mentions: int = 0
    types: set[str] = field(default_factory=set)
    facts: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    documents: set[str] = field(default_factory=set)

    def contradicts(self, other: Record, single: Collection[str]) -> list[str]:
        """Return the single-valued properties of which both have a value, and not the same."""
        return [
            name
            for name, values in self.facts.items()
            if name in single and name in other.facts and not compatible(values, other.facts[name])
        ]


def entity_valued(triples: Sequence[Triple], known: Collection[str] = ()) -> set[str]:
    """Return the properties whose values are entities: one of the values has facts of its own.

    Args:
        triples: All facts.
        known: Properties of which this is known.
    """
    entities = {triple.entity for triple in triples}
    found = {
        verbalise(triple.property)
        for triple in triples
        if triple.value in entities and triple.value != triple.entity
    }
    return (found | {verbalise(name) for name in known}) - {TYPE}


def single_valued(triples: Iterable[Triple]) -> set[str]:
    """Return the properties of which nearly every entity has one value."""
    values: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for triple in triples:
        values[verbalise(triple.property)][triple.entity].add(plain_value(triple.value))
    found = set()
    for name, entities in values.items():
        single = sum(len(own) == 1 for own in entities.values())
        # One exception may be the very contradiction that is looked for.
        exceptions = max(1, _EXCEPTIONS * len(entities))
        judged = len(entities) >= _ENOUGH and len(entities) - single <= exceptions
        if judged or _ALWAYS_SINGLE.search(name.lower()):
            found.add(name)
    return found - {TYPE}


def make_records(triples: Iterable[Triple], relations: Collection[str]) -> list[Record]:
    """Make a record of every entity.

    Args:
        triples: All facts.
        relations: The properties whose values are entities too.
    """
    records: dict[str, Record] = {}
    for triple in triples:
        name = verbalise(triple.property)
        record = _record(records, triple.entity, triple)
        if name == TYPE:
            record.types.add(plain_value(triple.value))
        else:
            record.facts[name].add(plain_value(triple.value))
        if name in relations:
            _record(records, triple.value, triple)
    return list(records.values())


def rare_facts(records: Sequence[Record]) -> list[list[str]]:
    """Return each record's facts that few others share, as texts to be compared."""
    counts = Counter(text for record in records for text in texts(record))
    few = min(_SHARED_BY_FEW, max(2, len(records) // 10))
    return [[text for text in texts(record) if 2 <= counts[text] <= few] for record in records]


def texts(record: Record) -> list[str]:
    """Return a record's facts as texts, "property: value"."""
    return sorted(f"{name}: {value}" for name, own in record.facts.items() for value in own)


def _record(records: dict[str, Record], name: str, triple: Triple) -> Record:
    record = records.get(name)
    if record is None:
        record = records[name] = Record(name, name_parts(name))
    record.mentions += 1
    document = triple.metadata.get("document")
    if isinstance(document, str):
        record.documents.add(document)
    return record


def plain_value(value: str) -> str:
    """Return a value's words, those of a date in one order, without name decorations."""
    words = plain_words(value)
    numbers = [_MONTHS.get(word, word).lstrip("0") for word in words]
    if any(re.fullmatch(r"\d{4}", word) for word in words) and all(
        number.isdigit() for number in numbers
    ):
        return " ".join(sorted(numbers, key=lambda number: (-int(number), number)))
    return name_parts(value).core if words else value.strip()


def compatible(mine: set[str], others: set[str]) -> bool:
    """Tell whether some value of one is some value of the other, or says it in fewer words."""
    return any(
        set(a.split()) <= set(b.split()) or set(b.split()) <= set(a.split())
        for a in mine
        for b in others
    )
