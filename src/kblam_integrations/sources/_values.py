"""The values of properties, as text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import date, time, timedelta
from typing import Any

from kblam.errors import FactError
from kblam.knowledge import Triple, verbalise

__all__ = ["duration_words", "fingerprint", "is_embedding", "text_of", "value_facts"]

# A list of at least so many numbers with a fraction is a vector; a shorter one may be a place,
# a range or prices.
_SHORTEST_EMBEDDING = 32
# What cannot change unseen, and differs where its text does.
_AS_THEY_ARE = frozenset({bool, int, str, type(None)})


def value_facts(
    entity: str, name: str, value: Any, metadata: Mapping[str, Any]
) -> Iterator[Triple]:
    """Yield one triple per value: lists have several, mappings have named ones.

    What says nothing yields nothing: None, "", NaN, bytes, an embedding, a nameless entity.

    Raises:
        FactError: The value refers to itself, or holds others deeper than can be read.
    """
    for words, text in _read(name, value):
        if words.strip() and entity.strip():
            yield Triple(entity, words, text, metadata=metadata)


def fingerprint(properties: Mapping[Any, Any]) -> int:
    """Return a hash of what facts are made of, which an object's ``repr`` may not show.

    Raises:
        FactError: As for :func:`value_facts`.
    """
    read: list[object] = []
    for key, item in properties.items():
        name, kind = str(key), type(item)
        # The types, as only some of them give a node its name.
        read += (name, kind)
        read.append(item if kind in _AS_THEY_ARE else tuple(_read(name, item)))
    return hash(tuple(read))


def _read(name: str, value: Any) -> list[tuple[str, str]]:
    """Return the name in words and the text of each value that says something."""
    try:
        return list(_texts(name, value))
    except RecursionError as error:
        raise FactError(
            f"The property {name!r} holds lists or mappings within each other, deeper than can be "
            "read; it may hold itself. Make it flatter."
        ) from error


def _texts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        value = value.tolist()
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(f"{verbalise(name)} {verbalise(str(key))}", item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        if not is_embedding(name, value):
            for item in _ordered(value):
                yield from _texts(name, item)
    elif text := text_of(value):
        yield name, text


def text_of(value: Any) -> str:
    """Return one value as text, "" for what says nothing."""
    if value is None or isinstance(value, (bytes, bytearray, memoryview)):
        return ""
    if isinstance(value, float) and math.isnan(value):
        return ""
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        seconds = value.seconds + value.microseconds / 1e6
        return duration_words(days=value.days, seconds=seconds)
    return str(value).strip()


def duration_words(*, months: int = 0, days: int = 0, seconds: float = 0) -> str:
    """Return a length of time in words, such as ``1 year 2 months 3 hours``."""
    parts = [
        *zip(_split(months, 12), ("year", "month"), strict=True),
        (days, "day"),
        *zip(_split(seconds, 3600), ("hour", ""), strict=True),
    ]
    rest = parts.pop()[0]
    parts += zip(_split(rest, 60), ("minute", "second"), strict=True)
    words = [f"{n:.9g} {unit}{'' if abs(n) == 1 else 's'}" for n, unit in parts if n]
    return " ".join(words) or "0 seconds"


def is_embedding(name: str, value: Any) -> bool:
    """Tell whether a property holds a vector, which is about a text and says nothing itself."""
    if not isinstance(value, (list, tuple)) or not value:
        return False
    numbers = all(isinstance(item, (int, float)) for item in value)
    named = verbalise(name).casefold().split()[-1:] in (["embedding"], ["embeddings"], ["vector"])
    long = len(value) >= _SHORTEST_EMBEDDING and all(isinstance(item, float) for item in value)
    return numbers and (named or long)


def _ordered(items: list[Any] | tuple[Any, ...] | set[Any] | frozenset[Any]) -> list[Any]:
    # A set comes in another order in every process.
    return sorted(items, key=repr) if isinstance(items, (set, frozenset)) else list(items)


def _split(amount: float, size: int) -> tuple[float, float]:
    """Split an amount into whole larger units and the rest, both with its sign."""
    sign = -1 if amount < 0 else 1
    whole, rest = divmod(abs(amount), size)
    return sign * whole, sign * rest
