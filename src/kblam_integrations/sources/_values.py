"""The values of properties, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from kblam.knowledge import Triple, literal_text, verbalise

__all__ = ["duration_words", "is_embedding", "text_of", "value_facts"]

# A list of at least so many numbers with a fraction is a vector; a shorter one may be a place,
# a range or prices.
_SHORTEST_EMBEDDING = 32


def value_facts(
    entity: str, name: str, value: Any, metadata: Mapping[str, Any]
) -> Iterator[Triple]:
    """Yield one triple per value: lists have several, mappings have named ones.

    What says nothing yields nothing: None, "", NaN, bytes, an embedding, a nameless entity.
    """
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        value = value.tolist()
    if isinstance(value, Mapping):
        for key, item in value.items():
            words = f"{verbalise(name)} {verbalise(str(key))}"
            yield from value_facts(entity, words, item, metadata)
    elif isinstance(value, (list, tuple, set, frozenset)):
        if not is_embedding(name, value):
            for item in _ordered(value):
                yield from value_facts(entity, name, item, metadata)
    else:
        text = text_of(value)
        if text and name.strip() and entity.strip():
            yield Triple(entity, name, text, metadata=metadata)


def text_of(value: Any) -> str:
    """Return one value as text, "" for what says nothing."""
    if value is None or isinstance(value, (bytes, bytearray, memoryview)):
        return ""
    if isinstance(value, datetime):
        # Of graphs; SQL's moments have a space, see there.
        return value.isoformat()
    if isinstance(value, timedelta):
        seconds = value.seconds + value.microseconds / 1e6
        return duration_words(days=value.days, seconds=seconds)
    text = literal_text(value)
    return str(value).strip() if text is None else text


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
