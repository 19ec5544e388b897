"""Triples, the facts a store keeps, and the texts a sentence encoder reads."""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kblam.errors import FactError
from kblam.knowledge._literals import literal_text
from kblam.knowledge._predicates import verb_phrase
from kblam.knowledge._words import is_iri, property_words, term_words, value_words, verbalise

__all__ = ["Fact", "Triple", "as_triple", "inverse", "is_text", "is_unicode"]

_PARTS = ("entity", "property", "value")


@dataclass(frozen=True, slots=True)
class Triple:
    """One statement: a property of an entity has a value.

    Surrounding white space is removed; the rest of each part is kept as it is, and words are
    made of it only in the texts below.

    Attributes:
        entity: What the statement is about, a name or an IRI.
        property: Which of its properties, a name (``founded_in``) or an IRI.
        value: What the property is, a literal or an IRI.
        id: The caller's own identifier, if there is one.
        metadata: Whatever else is known of it (JSON): views filter by it.

    Raises:
        FactError: A part is no string, is empty or cannot be stored, or the metadata is not
            JSON.
    """

    entity: str
    property: str
    value: str
    id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in _PARTS:
            object.__setattr__(self, name, _clean(name, getattr(self, name)))
        if self.id is not None:
            object.__setattr__(self, "id", _clean("id", self.id))
        if not isinstance(self.metadata, Mapping):
            raise FactError(
                f"The metadata of a triple must be a mapping, got {type(self.metadata).__name__}. "
                'Pass a dict such as {"source": "handbook"}.'
            )
        # A copy of its own: the triple is frozen, so its metadata must not change from outside.
        object.__setattr__(self, "metadata", _clean_metadata(self.metadata))

    @builtins.property
    def property_text(self) -> str:
        """The property in words, without a leading "has"."""
        return property_words(self.property)

    @builtins.property
    def entity_text(self) -> str:
        """The entity as text: an IRI as the words of its name."""
        return term_words(self.entity)

    @builtins.property
    def key_text(self) -> str:
        """The text whose embedding is the fact's key, such as "the founder of Acme"."""
        return f"the {self.property_text} of {self.entity_text}"

    @builtins.property
    def value_text(self) -> str:
        """The text whose embedding is the fact's value, and which an answer quotes.

        An IRI that names a thing is put in words. A web address is a literal, as everything
        else: among names (Acme, website, ...) any IRI is one, and for properties such as
        ``foaf:homepage`` always. Literals stay as they are.
        """
        if is_iri(self.entity) or is_iri(self.property):
            return value_words(self.property, self.value)
        return self.value

    @builtins.property
    def verb_text(self) -> str | None:
        """The property as a sentence says it between entity and value, if it is no noun.

        ``WORKS_AT`` gives ``works at`` and ``founded_by`` ``was founded by``.
        """
        return verb_phrase(self.property_text)

    @builtins.property
    def named_text(self) -> str:
        """The property as an answer names it: its noun, or what it says for a verb."""
        return self.verb_text or self.property_text

    @builtins.property
    def lead(self) -> str:
        """What stands before the value in a sentence, with a space at its end."""
        if (verb := self.verb_text) is not None:
            return f"{self.entity_text} {verb} "
        return f"The {self.property_text} of {self.entity_text} is "

    @builtins.property
    def statement(self) -> str:
        """The fact as a sentence: "The founder of Acme is Ann.", "Ann works at Acme."."""
        return f"{self.lead}{self.value_text}."

    def to_dict(self) -> dict[str, Any]:
        """Return the triple as a JSON object, without what is not set."""
        result: dict[str, Any] = {
            "entity": self.entity,
            "property": self.property,
            "value": self.value,
        }
        if self.id is not None:
            result["id"] = self.id
        if self.metadata:
            result["metadata"] = dict(self.metadata)
        return result


@dataclass(frozen=True, slots=True)
class Fact(Triple):
    """A triple as a store keeps it: its identifier is always set.

    The identifier is opaque. It stays the same while the fact's value is changed by
    ``KnowledgeStore.upsert``, and is derived from the content where the caller gave none.
    """

    id: str = ""

    def __post_init__(self) -> None:
        # Zero-argument super() does not work in a dataclass with slots.
        Triple.__post_init__(self)


def inverse(triple: Triple) -> Triple:
    """Return the same statement told from its value.

    (Acme, founder, Ann) becomes (Ann, founder of, Acme), and (Paris, capital of, France)
    becomes (France, capital, Paris). The identifier is not kept, as it names the other
    direction; the metadata is.

    Args:
        triple: A triple whose value is an entity too.
    """
    words = verbalise(triple.property)
    if words.endswith(" of"):
        words = words.removesuffix(" of")
        for lead in ("is the ", "is a ", "is an ", "is "):
            if words.startswith(lead):
                words = words.removeprefix(lead)
                break
    else:
        words = f"{property_words(triple.property)} of"
    return Triple(triple.value, words, triple.entity, metadata=triple.metadata)


def as_triple(item: Triple | tuple[str, str, str] | Mapping[str, Any]) -> Triple:
    """Make a triple of any form in which one may be given.

    Args:
        item: A triple; a sequence of entity, property and value; or a mapping with these
            keys, optionally ``id`` and ``metadata``. Other keys of a mapping become metadata.
            Numbers and booleans are taken as their JSON text, a ``Decimal`` with all its
            digits, dates and times as ISO 8601 writes them.

    Raises:
        FactError: It is none of these, or a part is missing, empty or NaN.
    """
    if isinstance(item, Triple):
        return item
    if isinstance(item, Mapping):
        return _from_mapping(item)
    if _is_sequence(item) and len(item) == len(_PARTS):
        entity, name, value = map(_literal, _PARTS, item)
        return Triple(entity, name, value)
    shown = f"{len(item)} parts" if _is_sequence(item) else type(item).__name__
    raise FactError(
        "A fact must be a Triple, a tuple (entity, property, value) or a mapping with these "
        f"keys, got {shown}: {item!r:.100}."
    )


def _from_mapping(item: Mapping[str, Any]) -> Triple:
    if missing := [name for name in _PARTS if name not in item]:
        raise FactError(
            f"A fact needs the keys entity, property and value; {', '.join(missing)} missing "
            f"in {dict(item)!r:.200}."
        )
    extra = {k: v for k, v in item.items() if k not in (*_PARTS, "id", "metadata")}
    metadata = item.get("metadata") or {}
    if extra and isinstance(metadata, Mapping):
        metadata = {**extra, **metadata}
    identifier = item.get("id")
    named = literal_text(identifier)
    entity, name, value = (_literal(part, item[part]) for part in _PARTS)
    return Triple(
        entity,
        name,
        value,
        # In a table's rows, an identifier that is missing is NaN.
        id=identifier if named is None else named or None,
        metadata=metadata,
    )


def _is_sequence(item: object) -> bool:
    return isinstance(item, (tuple, list))


def _literal(name: str, part: Any) -> Any:
    """Return a number, a date or the like as its text, anything else for Triple to judge."""
    text = literal_text(part)
    if text == "":
        raise FactError(
            f"The {name} of a fact must say something, got {part!r}. Leave the fact out, as one "
            "without a value."
        )
    return part if text is None else text


def _clean(name: str, part: Any) -> str:
    if not isinstance(part, str):
        raise FactError(
            f"The {name} of a fact must be a string, got {type(part).__name__}: {part!r:.100}."
        )
    text = part.strip()
    if not text:
        raise FactError(f"The {name} of a fact must not be empty, got {part!r}.")
    if not is_text(text):
        raise FactError(
            f"The {name} of a fact holds a character that is not text (NUL or half a surrogate "
            f"pair): {text!r:.100}. Remove it first."
        )
    return text


def is_text(text: str) -> bool:
    """Whether a part of a fact can be this: NUL and half a surrogate pair are no text."""
    return "\x00" not in text and is_unicode(text)


def is_unicode(text: str) -> bool:
    """Whether a text can be stored at all: half a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _clean_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    if not metadata:
        return {}
    for key in metadata:
        if not isinstance(key, str):
            raise FactError(f"The keys of a fact's metadata must be strings, got {key!r}.")
    try:
        # allow_nan: NaN is not JSON, and SQLite would refuse the text later on.
        text = json.dumps(dict(metadata), allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError) as error:
        raise FactError(
            f"The metadata of a fact must be JSON, got {metadata!r:.200}: {error}."
        ) from error
    cleaned: dict[str, Any] = json.loads(text)
    if "\\u0000" in text and _holds_nul(cleaned):
        # SQLite would read the text up to there: a view would take it for another.
        raise FactError(f"The metadata of a fact holds NUL, which is no text: {metadata!r:.200}.")
    return cleaned


def _holds_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds_nul(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return any(map(_holds_nul, value))
    return isinstance(value, str) and "\0" in value
