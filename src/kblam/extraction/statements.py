"""What an extractor says, before it is a fact of a store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kblam.extraction.documents import Document
from kblam.knowledge import verbalise

__all__ = ["Passages", "Statement", "StatementExtractor", "property_statements"]

Passages = Sequence[Document]


@dataclass(frozen=True, slots=True)
class Statement:
    """A fact as an extractor gave it.

    Attributes:
        passage: Where it was read; None if the extractor did not say.
        entity: What it is about.
        property: Which property.
        value: Its value.
        relation: Whether the value is an entity too.
        problem: Why it is none, for what cannot be read.
    """

    passage: Document | None
    entity: str
    property: str
    value: str
    relation: bool = False
    problem: str = ""


class StatementExtractor(Protocol):
    """Reads passages; what :func:`~kblam.extraction.as_extractor` makes of anything that can."""

    @property
    def cuts(self) -> bool:
        """Whether documents that a framework has cut already are to be cut anew."""
        ...

    @property
    def needs_evidence(self) -> bool:
        """Whether facts are left out whose words are not in the text."""
        ...

    def extract(self, passages: Passages) -> Iterable[Statement]:
        """Yield what the passages say."""
        ...


def property_statements(
    passage: Document | None, entity: str, properties: Mapping[str, Any]
) -> Iterator[Statement]:
    """Yield one statement per value: lists have several, mappings have named ones."""
    for name, value in properties.items():
        yield from _statements(passage, entity, str(name), value)


def _statements(
    passage: Document | None, entity: str, name: str, value: Any
) -> Iterator[Statement]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            words = f"{verbalise(name)} {verbalise(str(key))}"
            yield from _statements(passage, entity, words, item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _statements(passage, entity, name, item)
    elif value is not None:
        text = json.dumps(value) if isinstance(value, (bool, int, float)) else str(value)
        if text.strip() and name.strip() and entity.strip():
            yield Statement(passage, entity, name, text)
