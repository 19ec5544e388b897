"""Views: which facts of a store a caller may read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from kblam.errors import FactError
from kblam.knowledge.triple import Triple

__all__ = ["View"]

Scalar = str | int | float | bool | None
Choice = Scalar | Iterable[Scalar]

# Constant text: a view only ever fills in the three parameters, each of them JSON.
# A fact passes if, for each wanted key, its metadata has one of the values, or a list holding one.
# A whole number of more than 64 bits is never one of them: SQLite rounds it.
VIEW_CLAUSE = """
    (:entities IS NULL OR entity IN (SELECT value FROM json_each(:entities)))
    AND (:properties IS NULL OR property IN (SELECT value FROM json_each(:properties)))
    AND (:metadata IS NULL OR NOT EXISTS (
        SELECT 1 FROM json_each(:metadata) AS wanted WHERE NOT EXISTS (
            SELECT 1
            FROM json_each(facts.metadata) AS own, json_each(wanted.value) AS choice
            WHERE own.key = wanted.key AND (
                (
                    own.type NOT IN ('array', 'object')
                    AND NOT (own.type = 'integer' AND typeof(own.value) = 'real')
                    AND own.value IS choice.value
                )
                OR (own.type = 'array' AND EXISTS (
                    SELECT 1 FROM json_each(own.value) AS item
                    WHERE item.type NOT IN ('array', 'object')
                    AND NOT (item.type = 'integer' AND typeof(item.value) = 'real')
                    AND item.value IS choice.value
                ))
            )
        )
    ))
"""


@dataclass(frozen=True, slots=True)
class View:
    """A filter on facts, as parameters only. All its conditions must hold.

    Attributes:
        entities: The entities to read; None for all.
        properties: The properties to read; None for all.
        metadata: Pairs of a metadata key and the values it may have. A fact whose metadata has
            a list under that key passes if the list holds one of them; a fact without the key
            does not pass.

    Raises:
        FactError: A condition is none. What is malformed never shows everything.
    """

    entities: tuple[str, ...] | None = None
    properties: tuple[str, ...] | None = None
    metadata: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()

    def __post_init__(self) -> None:
        filters: object = self.metadata
        pairs = filters if isinstance(filters, (list, tuple)) else (filters,)
        object.__setattr__(self, "entities", _listed(self.entities))
        object.__setattr__(self, "properties", _listed(self.properties))
        object.__setattr__(self, "metadata", tuple(map(_filter, pairs)))

    @classmethod
    def build(
        cls,
        *,
        entity: str | Iterable[str] | None = None,
        property: str | Iterable[str] | None = None,
        metadata: Mapping[str, Choice] | None = None,
    ) -> View:
        """Make a view from single values or collections of them.

        Raises:
            FactError: A name is no text, or a metadata value is neither a JSON scalar nor a
                collection of scalars.
        """
        given: object = {} if metadata is None else metadata
        if not isinstance(given, Mapping):
            raise FactError(f"A view's metadata filters must be a mapping, got {given!r:.100}.")
        conditions = dict(_condition(key, value) for key, value in given.items())
        return cls(
            entities=_names(entity),
            properties=_names(property),
            metadata=tuple((key, conditions[key]) for key in sorted(conditions)),
        )

    def shows(self, fact: Triple) -> bool:
        """Tell whether a fact passes: in Python what a store asks its database."""
        own = fact.metadata
        return (
            (self.entities is None or fact.entity in self.entities)
            and (self.properties is None or fact.property in self.properties)
            and all(key in own and _has_one(own[key], values) for key, values in self.metadata)
        )

    def __and__(self, other: View) -> View:
        """Return the view that passes only what both views pass."""
        return View(
            entities=_both(self.entities, other.entities),
            properties=_both(self.properties, other.properties),
            metadata=tuple(dict.fromkeys((*self.metadata, *other.metadata))),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the view as a JSON object."""
        return {
            "entities": None if self.entities is None else list(self.entities),
            "properties": None if self.properties is None else list(self.properties),
            "metadata": [[key, list(values)] for key, values in self.metadata],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> View:
        """Read what :meth:`to_dict` wrote.

        Raises:
            FactError: It is something else. What is misspelt must not become a view of more.
        """
        # What comes here may have any type: views travel as JSON.
        given: object = data
        if not isinstance(given, Mapping) or given.keys() != _KEYS:
            raise FactError(
                f"Expected a view as View.to_dict() writes it, with the keys {sorted(_KEYS)}, got "
                f"{given!r:.200}."
            )
        return cls(data["entities"], data["properties"], data["metadata"])


_KEYS = {"entities", "properties", "metadata"}


def view_parameters(view: View | None) -> dict[str, str | None]:
    """Return the values of :data:`VIEW_CLAUSE`'s parameters."""
    chosen = View() if view is None else view
    return {
        "entities": None if chosen.entities is None else json.dumps(chosen.entities),
        "properties": None if chosen.properties is None else json.dumps(chosen.properties),
        "metadata": _conditions(chosen),
    }


def _conditions(view: View) -> str | None:
    """Return {key: values} as JSON text; a key that stands twice keeps both conditions."""
    if not view.metadata:
        return None
    # Written by hand, because a dict cannot hold a key twice while JSON (and json_each) can.
    pairs = (f"{json.dumps(key)}: {json.dumps(values)}" for key, values in view.metadata)
    return "{" + ", ".join(pairs) + "}"


# What comes to these may have any type: views travel as JSON, and programs may be untyped.


def _names(names: object) -> tuple[str, ...] | None:
    if names is None or isinstance(names, str):
        return None if names is None else (names,)
    if isinstance(names, Iterable) and not isinstance(names, (Mapping, bytes)):
        names = list(names)
    return tuple(sorted(set(_listed(names) or ())))


def _listed(names: object) -> tuple[str, ...] | None:
    """Return names as they stand in JSON."""
    if names is None:
        return None
    if isinstance(names, (list, tuple)) and all(map(_is_text, names)):
        return tuple(names)
    raise FactError(
        f"A view's entities and properties must be texts or lists of texts, got {names!r:.100}."
    )


def _filter(pair: object) -> tuple[str, tuple[Scalar, ...]]:
    """Return a condition on metadata as it stands in JSON."""
    if isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[1], (list, tuple)):
        return _condition(pair[0], pair[1])
    raise FactError(
        f"A view's metadata must be a list of pairs [key, [values]], got {pair!r:.100} among them."
    )


def _condition(key: object, value: object) -> tuple[str, tuple[Scalar, ...]]:
    """Return a condition on metadata from one value or several."""
    if not _is_text(key):
        raise FactError(f"A view's metadata keys must be text, got {key!r:.100}.")
    if isinstance(value, Iterable) and not isinstance(value, (str, Mapping, bytes)):
        choices = tuple(value)
    else:
        choices = (value,)
    if all(map(_is_scalar, choices)):
        return key, choices
    raise FactError(
        f"A view's filter must be a string, a number, a boolean, None or a list of these; got "
        f"{value!r:.100} for {key!r:.100}."
    )


def _is_text(item: object) -> TypeGuard[str]:
    # SQLite reads JSON's text up to the first NUL: more would pass than was meant.
    return isinstance(item, str) and "\0" not in item


def _is_scalar(item: object) -> bool:
    # NaN and infinity are none of JSON's numbers; SQLite would take NaN for null, and rounds a
    # whole number that takes more than 64 bits.
    if isinstance(item, float):
        return math.isfinite(item)
    if isinstance(item, int):
        return -(2**63) <= item < 2**63
    return item is None or _is_text(item)


def _has_one(own: Any, choices: tuple[Scalar, ...]) -> bool:
    """Whether a fact's value, or an item of a list that it is, is one of those wanted."""
    items = own if isinstance(own, (list, tuple)) else [own]
    # What cannot be wanted is not compared either: it may be equal to a number that can.
    return any(_is_scalar(item) and item in choices for item in items)


def _both(first: tuple[str, ...] | None, second: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if first is None or second is None:
        return second if first is None else first
    return tuple(name for name in first if name in second)
