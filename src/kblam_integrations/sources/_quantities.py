"""Amounts with their units, which RDF writes in nodes of their own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from kblam.knowledge import verbalise
from kblam_integrations.sources._rdf_terms import RDF, Literal, Term
from kblam_integrations.sources._units import code_symbol, is_number

__all__ = ["Quantity", "quantity", "role"]

# The words of the properties by which vocabularies say how much: QUDT, schema.org, GoodRelations,
# OM, SAREF, Wikibase, and ontologies that people write themselves.
_AMOUNTS = frozenset(
    {
        "amount",
        "has currency value",
        "has numerical value",
        "has value",
        "numeric value",
        "numerical value",
        "price",
        "quantity amount",
        "value",
    }
)
_AMOUNT, _LOWEST, _HIGHEST = "amount", "min value", "max value"
# And of what; the most readable first.
_UNITS = (
    "unit text",
    "unit",
    "has unit",
    "units",
    "has unit of measurement",
    "unit of measurement",
    "unit of measure",
    "is measured in",
    "quantity unit",
    "currency",
    "price currency",
    "has currency",
    "unit code",
)
_TYPE = f"{RDF}type"


class Quantity(NamedTuple):
    """A measure read from a node.

    Attributes:
        amount: The number as it is written, or two: "5 to 10".
        unit: What names the unit: an IRI, or a literal with its symbol or name.
        predicates: The predicates that this says all of.
    """

    amount: str
    unit: str | Literal
    predicates: frozenset[str]


def quantity(said: Sequence[tuple[str, Term]]) -> Quantity | None:
    """Return the quantity that a node stands for, None where it is something else.

    Args:
        said: What is said of the node: predicates and objects.
    """
    amounts: dict[str, str] = {}
    units: dict[int, str | Literal] = {}
    predicates = {_TYPE}
    for predicate, value in said:
        part = role(predicate)
        if isinstance(part, str) and isinstance(value, Literal) and is_number(value.text.strip()):
            if amounts.setdefault(part, value.text.strip()) != value.text.strip():
                return None  # two amounts: no telling which is meant
        elif isinstance(part, int) and isinstance(value, Literal):
            symbol = Literal(code_symbol(value.text.strip()))
            units[part] = min(symbol, units.get(part, symbol), key=repr)
        elif isinstance(part, int) and isinstance(value, str):
            units[part] = min(value, units.get(part, value), key=repr)
        else:
            continue
        predicates.add(predicate)
    amount = amounts.get(_AMOUNT)
    if amount is None and _LOWEST in amounts and _HIGHEST in amounts:
        amount = f"{amounts[_LOWEST]} to {amounts[_HIGHEST]}"
    if amount is None or not units:
        return None
    return Quantity(amount, units[min(units)], frozenset(predicates))


@lru_cache(maxsize=4096)
def role(predicate: str) -> str | int | None:
    """Return what a predicate says of a quantity: which amount (text), or the unit (its rank)."""
    words = verbalise(predicate).lower()
    if words in _AMOUNTS:
        return _AMOUNT
    if words in (_LOWEST, _HIGHEST):
        return words
    return _UNITS.index(words) if words in _UNITS else None
