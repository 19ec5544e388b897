"""The values of properties, as text."""

from __future__ import annotations

import inspect
import re
from collections.abc import Hashable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from kblam.errors import FactError
from kblam.knowledge import Triple, literal_text, verbalise
from kblam_integrations.sources._durations import duration_words
from kblam_integrations.sources._numpy_values import as_python

__all__ = ["fingerprint", "is_embedding", "text_of", "value_facts"]

# A list of at least so many numbers with a fraction is a vector; a shorter one may be a place,
# a range or prices.
_SHORTEST_EMBEDDING = 32
# What cannot change unseen, and differs where its text does.
_AS_THEY_ARE = frozenset({bool, str, type(None)})
_BYTES = (bytes, bytearray, memoryview)
# How Python shows what has no text of its own.
_ADDRESS = re.compile(r"^<.* at 0x[0-9a-fA-F]+.*>$", re.DOTALL)


def value_facts(
    entity: str, name: str, value: Any, metadata: Mapping[str, Any]
) -> Iterator[Triple]:
    """Yield one triple per value: lists have several, mappings have named ones.

    What says nothing yields nothing: None, "", NaN, infinity, bytes, functions and what else has
    no text of its own, an embedding, a nameless entity.

    Raises:
        FactError: The value refers to itself, holds others deeper than can be read, or is no
            text.
    """
    for words, text in _read(name, value):
        if words.strip() and entity.strip():
            yield Triple(entity, words, text, metadata=metadata)


def fingerprint(properties: Mapping[Any, Any]) -> int:
    """Return a hash of what facts are made of, which an object's ``repr`` may not show.

    Raises:
        FactError: As for :func:`value_facts`.
    """
    read = [
        (
            key if isinstance(key, str) else str(key),
            type(item),  # only some types give a node its name
            _told(str(key), item),
        )
        for key, item in properties.items()
    ]
    return hash(tuple(read))


def _told(name: str, value: Any) -> Hashable:
    if type(value) is int:
        return hex(value)  # the hash of -1 is that of -2
    return value if type(value) in _AS_THEY_ARE else tuple(_read(name, value))


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
    if isinstance(value, _BYTES):  # of which one has tolist as well
        return
    if hasattr(value, "tolist"):
        value = as_python(value)
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
    if isinstance(value, str):
        return value.strip()
    if value is None or isinstance(value, _BYTES):
        return ""
    if (literal := literal_text(value)) is not None:
        # Of graphs a moment has a T; SQL's have a space, see there.
        return value.isoformat() if literal and isinstance(value, datetime) else literal
    if _is_missing(value):
        return ""
    if isinstance(value, timedelta):
        sign, length = (-1, -value) if value < timedelta(0) else (1, value)
        seconds = length.seconds + length.microseconds / 1e6
        return duration_words(days=sign * length.days, seconds=sign * seconds)
    if inspect.isroutine(value) or inspect.isclass(value):
        return ""
    text = str(value).strip()
    # An address in memory is another one in every process.
    return "" if _ADDRESS.search(text) else text


def _is_missing(value: Any) -> bool:
    """Tell whether a value stands for a missing one, as pandas' NA."""
    try:
        return bool(value != value)
    except TypeError:  # NA does not say whether it is itself
        return True


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
