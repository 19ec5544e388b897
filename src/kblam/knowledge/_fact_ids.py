"""The identifiers of many facts, packed: a million Python strings take 65 MB and more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

__all__ = ["FactIds"]

Int = npt.NDArray[np.int64]

# Up to so many identifiers are looked for one by one.
_FEW = 32
# A short identifier stands in many others: after so many of them, all are compared with it.
_FALSE_HITS = 256


class FactIds(Sequence[str]):
    """A sequence of texts that equals the tuple of them.

    Args:
        packed: The texts one after another, UTF-8.
        ends: Where each ends (M).
    """

    __slots__ = ("_packed", "ends")

    def __init__(self, packed: bytes, ends: Int) -> None:
        self._packed = packed
        self.ends = ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> FactIds:
        """Pack texts."""
        encoded = [text.encode() for text in texts]
        lengths = np.fromiter(map(len, encoded), np.int64, count=len(encoded))
        return cls(b"".join(encoded), np.cumsum(lengths, dtype=np.int64))

    @property
    def packed(self) -> bytes:
        """The texts one after another, UTF-8."""
        return self._packed

    @property
    def nbytes(self) -> int:
        """The memory they take."""
        return len(self._packed) + self.ends.nbytes

    def positions(self, texts: Iterable[str]) -> Int:
        """Return where these texts stand, ascending; those that are not there are left out."""
        wanted = set(texts)
        if len(wanted) > _FEW:
            held = (position for position, text in enumerate(self) if text in wanted)
            return np.fromiter(held, np.int64)
        found = [position for text in wanted for position in self._position(text.encode())]
        return np.array(sorted(found), np.int64)

    def _position(self, text: bytes) -> list[int]:
        """Find one text in all of them as they are packed, which is the quickest for most."""
        start = self._packed.find(text)
        for _ in range(_FALSE_HITS):
            if start < 0:
                return []
            place = int(np.searchsorted(self.ends, start, side="right"))
            begins = int(self.ends[place - 1]) if place else 0
            if begins == start and int(self.ends[place]) == start + len(text):
                return [place]
            start = self._packed.find(text, start + 1)
        return self._compared(text)

    def _compared(self, text: bytes) -> list[int]:
        """Find one text by comparing all with it, a byte at a time."""
        starts = self._starts()
        left = np.flatnonzero(self.ends - starts == len(text))
        letters = np.frombuffer(self._packed, np.uint8)
        # From the end: identifiers made by hand begin alike more often.
        for place in range(len(text) - 1, -1, -1):
            left = left[letters[starts[left] + place] == text[place]]
            if not len(left):
                break
        found: list[int] = left.tolist()
        return found

    def extended(self, texts: Iterable[str]) -> FactIds:
        """Return these with others after them."""
        more = FactIds.of(texts)
        if not len(more):
            return self
        after = more.ends + len(self._packed)
        return FactIds(self._packed + more.packed, np.concatenate([self.ends, after]))

    def take(self, positions: Int) -> FactIds:
        """Return the texts at these positions."""
        if not len(positions):
            return FactIds(b"", np.empty(0, np.int64))
        starts = self._starts()
        # Runs of neighbours are copied as they are.
        breaks = np.flatnonzero(np.diff(positions) != 1) + 1
        first = positions[np.concatenate([np.zeros(1, np.int64), breaks])]
        last = positions[np.concatenate([breaks - 1, np.full(1, len(positions) - 1)])]
        runs = zip(starts[first].tolist(), self.ends[last].tolist(), strict=True)
        lengths = (self.ends - starts)[positions]
        return FactIds(b"".join(self._packed[a:b] for a, b in runs), np.cumsum(lengths))

    def _starts(self) -> Int:
        return np.concatenate([np.zeros(1, np.int64), self.ends])[:-1]

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[position] for position in range(*index.indices(len(self))))
        position = range(len(self))[index]
        start = int(self.ends[position - 1]) if position else 0
        return self._packed[start : int(self.ends[position])].decode()

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in self.ends.tolist():
            yield self._packed[start:end].decode()
            start = end

    def __eq__(self, other: Any) -> bool:
        if isinstance(other, FactIds):
            return self._packed == other._packed and np.array_equal(self.ends, other.ends)
        return isinstance(other, tuple) and tuple(self) == other

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:3])) + (", ..." if len(self) > 3 else "")
        return f"FactIds({len(self)}: {shown})"
