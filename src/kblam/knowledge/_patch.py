"""Bringing vectors that were read before up to date, at the cost of what changed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from kblam.knowledge._fact_ids import FactIds
from kblam.knowledge._layout import Rows
from kblam.knowledge._vector_file import VectorFile

__all__ = ["Part", "Patch", "RowChanges", "patch"]

Int = npt.NDArray[np.int64]

# Above this share of rows that differ from the file, it is written anew.
_OVERLAY = 1 / 16


def _none() -> Int:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Part:
    """Some facts with their vectors, and those of them that have none.

    Attributes:
        ids: The facts' identifiers (M).
        rows: Where the store keeps them, ascending (M).
        keys: Their vectors (M).
        values: Their vectors (M).
        pending: Facts without vectors; they are in none of the above.
        file: What keys and values are mapped from, or None.
        overlay: Positions at which they differ from the file, ascending.
    """

    ids: FactIds
    rows: Int
    keys: Rows
    values: Rows
    pending: tuple[str, ...] = ()
    file: VectorFile | None = None
    overlay: Int = field(default_factory=_none)


@dataclass(frozen=True, slots=True)
class RowChanges:
    """Which vectors differ from those read before; all others are the same, in the same order.

    Attributes:
        touched: Positions before the change at which a fact was changed or removed, ascending.
        fresh: Positions now of the facts that were changed or added, ascending.
        moved: Whether facts that stayed stand elsewhere now.
    """

    touched: Int
    fresh: Int
    moved: bool


@dataclass(frozen=True, slots=True)
class Patch:
    """The outcome.

    Attributes:
        part: The facts as they are now.
        changes: What of them was read anew.
        copied: Whether all vectors had to be copied.
    """

    part: Part
    changes: RowChanges
    copied: bool


def patch(before: Part, changed: Collection[str], removed: Collection[str], fresh: Part) -> Patch:
    """Put changed facts among those that stayed, in the order of their rows.

    Args:
        before: What was read before.
        changed: The facts that may differ from it.
        removed: Those of them that were removed at some time since, if only to be added again.
        fresh: Those of them that are there and have vectors now.
    """
    old = len(before.rows)
    places = np.searchsorted(before.rows, fresh.rows)
    same = places < old
    same[same] = before.rows[places[same]] == fresh.rows[same]
    names = list(fresh.ids)
    for i in np.flatnonzero(same).tolist():
        # A fact may take over the row of another.
        same[i] = before.ids[int(places[i])] == names[i]
    staying = {name for name, stays in zip(names, same.tolist(), strict=True) if stays}
    there = set(names)
    lost = {name for name in changed if name not in there or name in removed} - staying
    stale = before.ids.positions(lost) if lost else _none()
    touched = np.union1d(places[same], stale)
    after = old + np.cumsum(~same) - 1
    moved = bool(len(stale)) or not bool((same | (places == old)).all())
    part = None
    if not moved:
        grown = int(old + (~same).sum())
        part = _overlaid(before, fresh, np.where(same, places, after), grown)
    copied = part is None
    if part is None:
        part = _merged(before, touched, fresh)
    return Patch(part, RowChanges(touched, np.searchsorted(part.rows, fresh.rows), moved), copied)


def _overlaid(before: Part, fresh: Part, positions: Int, total: int) -> Part | None:
    """Map the file anew and write what differs over it; None if that cannot be."""
    file = before.file
    if file is None or total > file.header.capacity:
        return None
    overlay = np.union1d(before.overlay, positions)
    if len(overlay) > _OVERLAY * file.header.count + 1024:
        return None
    old = len(before.rows)
    keys, values = file.map()
    for now, then, new in ((keys, before.keys, fresh.keys), (values, before.values, fresh.values)):
        now[before.overlay] = then[before.overlay]
        now[positions] = new
    added = positions >= old
    names = list(fresh.ids)
    return Part(
        ids=before.ids.extended(names[i] for i in np.flatnonzero(added).tolist()),
        rows=np.concatenate([before.rows, fresh.rows[added]]),
        keys=keys[:total],
        values=values[:total],
        pending=fresh.pending,
        file=file,
        overlay=overlay,
    )


def _merged(before: Part, touched: Int, fresh: Part) -> Part:
    """Copy what stayed and put the fresh facts among it."""
    old = len(before.rows)
    kept = np.ones(old, bool)
    kept[touched] = False
    source = np.concatenate([np.flatnonzero(kept), old + np.arange(len(fresh.rows))])
    rows = np.concatenate([before.rows[kept], fresh.rows])
    order = np.argsort(rows, kind="stable")
    source = source[order]
    is_new = source >= old
    # One copy of what stayed (a row to be overwritten takes any), then the few new rows.
    index = np.where(is_new, 0, source)

    def merged(then: Rows, new: Rows) -> Rows:
        if not old:
            result: Rows = new[source]
            return result
        result = then.take(index, axis=0)
        result[is_new] = new[source[is_new] - old]
        return result

    return Part(
        ids=before.ids.extended(fresh.ids).take(source),
        rows=rows[order],
        keys=merged(before.keys, fresh.keys),
        values=merged(before.values, fresh.values),
        pending=fresh.pending,
    )
