"""Nodes and relations as they come over Bolt: which are facts, and what they are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kblam.knowledge import verbalise
from kblam_integrations.sources._durations import duration_words
from kblam_integrations.sources._graph_facts import SOURCE, called, own_properties
from kblam_integrations.sources._values import text_of

__all__ = ["Node", "Relation", "plain"]

_NAMES = ("name", "title", "label")
_KEYS = ("id", "uuid", "key", "code")
# LlamaIndex marks its nodes with the first, and those of them that are no text with the second.
_OF_LLAMA_INDEX, _ENTITY = "__Node__", "__Entity__"
_TEXTS = frozenset({"Chunk", "Document"})


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a graph.

    Attributes:
        key: Its identifier in the database.
        labels: Sorted.
        properties: Of plain values.
    """

    key: str
    labels: tuple[str, ...]
    properties: Mapping[str, Any]

    @property
    def is_text(self) -> bool:
        """Whether it is a chunk of text or a document that a framework keeps beside its facts."""
        if _ENTITY in self.labels or not isinstance(self.properties.get("text"), str):
            return False
        if _OF_LLAMA_INDEX in self.labels:
            return True
        # With a name of its own it may be anybody's document.
        return not _TEXTS.isdisjoint(self.labels) and not called(self.properties, _NAMES)

    @property
    def is_implied(self) -> bool:
        """Whether LlamaIndex knows of it only as the end of a relation."""
        return _OF_LLAMA_INDEX in self.labels and _ENTITY not in self.labels

    @property
    def is_hidden(self) -> bool:
        """Whether it belongs to a tool (``_Bloom_Perspective_``) and to nobody's knowledge."""
        return any(label.startswith("_Bloom_") for label in self.labels)

    @property
    def types(self) -> tuple[str, ...]:
        """The labels that say what it is."""
        # LlamaIndex labels what it only knows as the end of a relation "Chunk".
        implied = {"Chunk"} if _OF_LLAMA_INDEX in self.labels else set()
        return tuple(label for label in self.labels if label not in implied)

    def called(self, names: Sequence[str]) -> tuple[str | None, str]:
        """Return the property that names it, None if it has none, and its name.

        Args:
            names: Properties to try first.
        """
        kind = next((label for label in self.labels if not label.startswith("_")), "node")
        words = {key: verbalise(key).casefold().split() for key in self.properties}
        named = sorted(key for key, parts in words.items() if parts[-1:] == ["name"])
        # The name of its kind first: productName of a Product.
        named.sort(key=lambda key: words[key][:1] != [kind.casefold()])
        numbered = sorted(key for key, parts in words.items() if parts[-1:] == ["id"])
        wanted = (*names, *_NAMES, *named, *_KEYS, *(key for key in numbered if key != SOURCE))
        found = called(self.properties, wanted)
        return found or (None, f"{verbalise(kind)} {self.key}")

    def others(self, name: tuple[str | None, str], chunk: Mapping[str, Any]) -> dict[str, Any]:
        """Return its properties apart from the one that names it.

        Args:
            name: What it is called, and by which property.
            chunk: The properties of the chunk of text it was found in.
        """
        mine = self.properties
        if _OF_LLAMA_INDEX in self.labels:
            mine = own_properties(mine, chunk)
        key, text = name
        # Frameworks write the name twice.
        return {k: v for k, v in mine.items() if k != key and not (k == "id" and v == text)}


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation of a graph.

    Attributes:
        key: Its identifier in the database.
        label: Its type.
        start: The key of the node it starts from.
        end: The key of the node it leads to.
        properties: Of plain values.
    """

    key: str
    label: str
    start: str
    end: str
    properties: Mapping[str, Any]

    def others(self, chunk: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return its properties apart from those of the chunk of text it was found in."""
        found = SOURCE in self.properties
        return own_properties(self.properties, chunk) if found else self.properties


def plain(value: Any) -> Any:
    """Return a value of Bolt as plain values: those of time and space become readable text."""
    kind = type(value)
    if kind.__module__.startswith("neo4j."):
        return _special(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _special(value: Any) -> Any:
    if hasattr(value, "nanoseconds") and hasattr(value, "months"):
        seconds = value.seconds + value.nanoseconds / 1e9
        return duration_words(months=value.months, days=value.days, seconds=seconds)
    if hasattr(value, "to_native") and hasattr(value, "iso_format"):
        # Python knows no nanoseconds, and few facts do.
        try:
            return text_of(value.to_native())
        except ValueError:  # nor years after 9999
            return str(value.iso_format())
    if hasattr(value, "srid"):
        return _place(value)
    return None  # a vector, a path: nothing that is said of a thing


def _place(point: Iterable[float]) -> str:
    names = [name for name in ("latitude", "longitude", "height") if hasattr(point, name)]
    if not names:
        names = [name for name in ("x", "y", "z") if hasattr(point, name)]
    return ", ".join(f"{name} {getattr(point, name):.9g}" for name in names)
