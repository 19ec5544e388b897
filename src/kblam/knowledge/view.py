"""Views: which facts of a store a caller may read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kblam.errors import FactError

__all__ = ["View"]

Scalar = str | int | float | bool | None
Choice = Scalar | Iterable[Scalar]

# Constant text: a view only ever fills in the three parameters, each of them JSON.
# A fact passes if, for each wanted key, its metadata has one of the values, or a list holding one.
VIEW_CLAUSE = """
    (:entities IS NULL OR entity IN (SELECT value FROM json_each(:entities)))
    AND (:properties IS NULL OR property IN (SELECT value FROM json_each(:properties)))
    AND (:metadata IS NULL OR NOT EXISTS (
        SELECT 1 FROM json_each(:metadata) AS wanted WHERE NOT EXISTS (
            SELECT 1
            FROM json_each(facts.metadata) AS own, json_each(wanted.value) AS choice
            WHERE own.key = wanted.key AND (
                (own.type NOT IN ('array', 'object') AND own.value IS choice.value)
                OR (own.type = 'array' AND EXISTS (
                    SELECT 1 FROM json_each(own.value) AS item
                    WHERE item.type NOT IN ('array', 'object') AND item.value IS choice.value
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
    """

    entities: tuple[str, ...] | None = None
    properties: tuple[str, ...] | None = None
    metadata: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()

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
            FactError: A metadata value is neither a JSON scalar nor a collection of scalars.
        """
        return cls(
            entities=_names(entity),
            properties=_names(property),
            metadata=tuple(
                sorted((key, _choices(key, value)) for key, value in (metadata or {}).items())
            ),
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
        """Read what :meth:`to_dict` wrote."""
        entities, properties = data.get("entities"), data.get("properties")
        return cls(
            entities=None if entities is None else tuple(entities),
            properties=None if properties is None else tuple(properties),
            metadata=tuple((key, tuple(values)) for key, values in data.get("metadata", ())),
        )


EVERYTHING = View()


def view_parameters(view: View | None) -> dict[str, str | None]:
    """Return the values of :data:`VIEW_CLAUSE`'s parameters."""
    chosen = EVERYTHING if view is None else view
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


def _names(names: str | Iterable[str] | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    return (names,) if isinstance(names, str) else tuple(sorted(set(names)))


def _choices(key: str, value: Choice) -> tuple[Scalar, ...]:
    if value is None or isinstance(value, (str, int, float)):
        return (value,)
    # What comes here may have any type in an untyped program.
    given: object = value
    if isinstance(given, Iterable) and not isinstance(given, (Mapping, bytes)):
        choices = tuple(given)
        if all(item is None or isinstance(item, (str, int, float)) for item in choices):
            return choices
    raise FactError(
        f"A view's filter must be a string, a number, a boolean, None or a list of these; got "
        f"{value!r:.100} for {key!r}."
    )


def _both(first: tuple[str, ...] | None, second: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if first is None or second is None:
        return second if first is None else first
    return tuple(name for name in first if name in second)
