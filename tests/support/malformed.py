"""Inputs that nobody meant to give, and the judgement of what becomes of them.

For each there must be a correct result or one of the library's own errors with a clear message,
and what a store held before must not be lost. How many inputs of each kind there are stands in
:data:`PLANNED`; :func:`judge` sees that so many were judged.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from kblam.errors import KBLaMError

_T = TypeVar("_T")

#: How many inputs of each kind are judged.
PLANNED = {
    "triples": 250,
    "JSON lines": 150,
    "CSV": 150,
    "RDF": 90,
    "SQL": 70,
    "stores": 160,
    "journals of stores": 30,
    "files of vectors": 90,
    "indexes": 90,
    "weights of adapters": 90,
    "settings of adapters": 90,
    "views": 150,
    "replies of servers": 120,
}
_LONGEST_MESSAGE = 3_000


def judge(kind: str, inputs: Iterable[_T], check: Callable[[_T], None]) -> None:
    """Check every input of a kind, and that there are as many as planned."""
    count = 0
    for count, given in enumerate(inputs, start=1):
        try:
            check(given)
        except Exception as error:
            raise AssertionError(
                f"{kind}, input {count}: {given!r:.300}: {type(error).__name__}: {error}"
            ) from error
    assert count == PLANNED[kind]


def attempt(use: Callable[[], _T]) -> _T | KBLaMError:
    """Return what a use gives, or the library's own error, whose message must be clear."""
    try:
        return use()
    except KBLaMError as error:
        message = str(error)
        assert len(message.split()) >= 4, f"says too little: {message!r}"
        assert len(message) < _LONGEST_MESSAGE, "says too much"
        assert "\x00" not in message
        return error


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Return a file's content as a bad disk, a broken transfer or a wrong program leaves it."""
    place = chance.randrange(len(content))
    length = chance.choice([1, 2, 16, 200])
    noise = chance.randbytes(length)
    ways: list[Callable[[], bytes]] = [
        lambda: content[:place],
        lambda: content[place:],
        lambda: _flipped(content, place, chance),
        lambda: _flipped(content, place, chance),
        lambda: content[:place] + noise + content[place + length :],
        lambda: content[:place] + noise + content[place:],
        lambda: content[:place] + bytes(length) + content[place + length :],
        lambda: content[:place] + content[place + length :],
        lambda: content[:place] + content[place // 2 :],
        lambda: noise,
        lambda: b"",
        lambda: content + content,
    ]
    return chance.choice(ways)()


def damaged_text(content: bytes, chance: random.Random) -> bytes:
    """Return a text file damaged, or saved by something that means well but does otherwise."""
    text = content.decode()
    place = chance.randrange(len(text))
    pieces = ["\x00", "\ufeff", '"', "'", "\\", "\\ud800", "\r", "\n\n", ",,,", "{", "[" * 5_000]
    pieces += ["1" * 5_000, "1e999", "NaN", "null", "<", ">", "@", "\u2028", "\x1a", "\\x", "}}"]
    ways: list[Callable[[], bytes]] = [
        *[lambda: damaged(content, chance)] * 2,
        *[lambda: (text[:place] + chance.choice(pieces) + text[place:]).encode()] * 4,
        lambda: text.encode("utf-16"),
        lambda: text.encode("utf-32"),
        lambda: text.encode("latin-1", "replace"),
        lambda: text.encode("utf-8-sig"),
        lambda: text.replace("\n", "\r\n").encode(),
        lambda: text.replace("\n", "\r").encode(),
        lambda: text.replace("\n", "").encode(),
        lambda: b"\xed\xa0\x80" + content,  # half a surrogate pair
    ]
    return chance.choice(ways)()


def nonsense(chance: random.Random, depth: int = 0) -> Any:
    """Return any value at all."""
    simple: list[Any] = [
        *(None, True, False, 0, -1, 7, 1 << 70, 0.5, -0.0, 1e308),
        *(float("nan"), float("inf"), "", " ", "Aurora", "launch code", "\x00", "\ud800", "\ufeff"),
        *("a" * 5_000, "'; DROP TABLE facts;--", "http://example.org/x", "日本", "e\u0301", "\n"),
        *(b"", b"bytes", object, object(), lambda: None, Exception("x"), 3j, range(3), set()),
    ]
    if depth > 3 or chance.random() < 0.5:
        return chance.choice(simple)
    items = [nonsense(chance, depth + 1) for _ in range(chance.randrange(5))]
    kind = chance.randrange(4)
    if kind == 0:
        return items
    if kind == 1:
        return tuple(items)
    keys = ["entity", "property", "value", "id", "metadata", "entities", "properties", 7, None]
    return {chance.choice(keys): item for item in items}


def many(count: int, make: Callable[[random.Random], _T]) -> Iterator[_T]:
    """Make so many inputs, the same ones in every run."""
    for number in range(count):
        yield make(random.Random(number))


def _flipped(content: bytes, place: int, chance: random.Random) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1 << chance.randrange(8)
    return bytes(changed)
