"""Where facts stand after others came and went, at the cost of what changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["compared", "marks", "shifted"]

Int = npt.NDArray[np.int64]
Marks = npt.NDArray[np.uint32]

_BLOCK = 16_384


def shifted(places: Int, dropped: Int, put: Int) -> Int:
    """Return where elements of a list stand after some were dropped and others put in.

    With ``dropped`` and ``put`` exchanged it tells where they stood before.

    Args:
        places: Where they stood (N); none of them is in ``dropped``.
        dropped: What was dropped, by its place before, ascending.
        put: What was put in, by its place after, ascending.
    """
    kept = places - np.searchsorted(dropped, places) if len(dropped) else places
    if not len(put):
        return kept
    after: Int = kept + np.searchsorted(put - np.arange(len(put)), kept, side="right")
    return after


def compared(before: Int, after: Int) -> tuple[Int, Int]:
    """Return the places of what is in one of two ascending lists only.

    Args:
        before: A list (M).
        after: Another (N).

    Returns:
        Places in ``before`` of what is not in ``after``, and the other way round.
    """
    least = min(len(before), len(after))
    start = _first(before[:least] != after[:least])
    rest = least - start
    end = _first(before[len(before) - rest :][::-1] != after[len(after) - rest :][::-1])
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    gone = np.flatnonzero(~np.isin(old, new, assume_unique=True))
    come = np.flatnonzero(~np.isin(new, old, assume_unique=True))
    return gone + start, come + start


def _first(differs: npt.NDArray[np.bool_]) -> int:
    """Return where the first True stands, the length if there is none."""
    place = int(differs.argmax()) if len(differs) else 0
    return place if len(differs) and differs[place] else len(differs)


def marks(keys: npt.NDArray[Any]) -> Marks:
    """Return a checksum of each of M keys, in whatever form, uint32 (M)."""
    result = np.empty(len(keys), np.uint32)
    width = keys.itemsize * (keys.size // max(len(keys), 1)) // 2
    factors = np.random.default_rng(0).integers(0, 2**32, width, dtype=np.uint32) | 1
    for start in range(0, len(keys), _BLOCK):
        block = np.ascontiguousarray(keys[start : start + _BLOCK]).view("<u2").reshape(-1, width)
        # Two values of 16 bits differ by less than 2^16: an odd factor never makes them equal.
        products = block.astype(np.uint32) * factors
        result[start : start + _BLOCK] = products.sum(axis=1, dtype=np.uint32)
    return result
