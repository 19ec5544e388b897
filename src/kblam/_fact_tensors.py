"""A store's vectors as tensors: on a CPU the store's own memory, on another device a copy of it."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from kblam.attention import Int8Facts
from kblam.knowledge import FactVectors
from kblam.knowledge._patch import RowChanges

__all__ = ["DeviceCopy", "FactTensors", "mapped"]

# Room for facts that come, as a share of those there are, and at least.
_SLACK = 1 / 16
_LEAST = 1024
# Facts copied at a time.
_BLOCK = 65_536


@dataclass(frozen=True, eq=False)
class FactTensors:
    """The vectors of a store's facts at one moment. They stay as they are while this is held.

    Attributes:
        keys: (M, E), float16 or int8.
        values: (M, E), as the keys.
    """

    keys: Tensor | Int8Facts
    values: Tensor | Int8Facts


def mapped(vectors: FactVectors) -> FactTensors:
    """The very memory of some vectors, not to be written to."""
    return _as_facts([_unwritten(rows) for rows in _columns(vectors)])


class DeviceCopy:
    """A store's vectors on a device. A change costs what changed.

    What changed is written over what was there, unless somebody holds that, it moves other facts,
    or there is no room left: then the others are copied, within the device.

    Args:
        device: Where the tensors go.

    Attributes:
        uploaded: Bytes that went to the device so far.
    """

    def __init__(self, device: torch.device) -> None:
        self.uploaded = 0
        self._device = device
        self._held: FactVectors | None = None  # what the columns hold
        self._columns: list[Tensor] = []  # as of _columns, with room to grow
        self._lent: weakref.WeakSet[FactTensors] = weakref.WeakSet()  # that are the columns

    # Tensors made in inference mode could not be written to outside of it.
    @torch.inference_mode(False)
    def of(self, vectors: FactVectors, previous: FactVectors | None = None) -> FactTensors:
        """Copy vectors to the device.

        Args:
            vectors: Those wanted.
            previous: What they were read on from. If it was asked for last, only what changed
                since is copied.
        """
        held, self._held = self._held, None  # nothing is, if this fails
        if held is not vectors:
            changes = vectors.changes if previous is held else None
            if held is not None and len(held) > 0 and changes is not None:
                self._update(len(held), vectors, changes)
            else:
                self._columns.clear()  # its memory is needed for the new ones
                self._columns.extend(self._whole(rows) for rows in _columns(vectors))
                self._lent.clear()
        self._held = vectors
        tensors = _as_facts([column[: len(vectors)] for column in self._columns])
        self._lent.add(tensors)
        return tensors

    def _whole(self, rows: npt.NDArray[Any]) -> Tensor:
        kind = _unwritten(rows).dtype
        column = torch.empty((_room(len(rows)), *rows.shape[1:]), dtype=kind, device=self._device)
        for start in range(0, len(rows), _BLOCK):
            part = rows[start : start + _BLOCK]
            column[start : start + len(part)].copy_(_unwritten(part))
            self.uploaded += part.nbytes
        return column

    def _update(self, before: int, vectors: FactVectors, changes: RowChanges) -> None:
        now, fresh = len(vectors), self._upload(changes.fresh)
        if self._lent or changes.moved or now > len(self._columns[0]):
            touched = self._upload(changes.touched)
            for place, column in enumerate(self._columns):
                self._columns[place] = _moved(column, before, now, touched, fresh)
            self._lent.clear()
        for column, rows in zip(self._columns, _columns(vectors), strict=True):
            column.index_copy_(0, fresh, self._upload(rows[changes.fresh]))

    def _upload(self, rows: npt.NDArray[Any]) -> Tensor:
        self.uploaded += rows.nbytes
        return torch.from_numpy(rows).to(self._device)


def _moved(column: Tensor, before: int, now: int, touched: Tensor, fresh: Tensor) -> Tensor:
    """Copy rows that stay to where they stand now; what stands in between is yet to be written.

    Args:
        column: (``before`` or more, ...).
        before: Facts there were.
        now: Facts there are.
        touched: Of those before, the ones that do not stay, ascending.
        fresh: Of those now, the others, ascending.
    """
    found = column.new_empty((_room(now), *column.shape[1:]))
    # How many that stay stood before each one that does not.
    passed = touched - torch.arange(len(touched), device=column.device)
    for start in range(0, now, _BLOCK):
        places = torch.arange(start, min(start + _BLOCK, now), device=column.device)
        staying = places - torch.searchsorted(fresh, places)
        source = staying + torch.searchsorted(passed, staying, right=True)
        source.clamp_(max=before - 1)
        torch.index_select(column, 0, source, out=found[start : start + len(places)])
    return found


def _room(count: int) -> int:
    return count + int(_SLACK * count) + _LEAST


def _columns(vectors: FactVectors) -> list[npt.NDArray[Any]]:
    """Keys and values as plain arrays, M rows each: two, or four of int8."""
    if vectors.form == "half":
        return [vectors.keys, vectors.values]
    return [rows[name] for rows in (vectors.keys, vectors.values) for name in ("codes", "scale")]


def _as_facts(columns: Sequence[Tensor]) -> FactTensors:
    if len(columns) == 2:
        return FactTensors(*columns)
    codes, scale, value_codes, value_scale = columns
    return FactTensors(Int8Facts(codes, scale), Int8Facts(value_codes, value_scale))


def _unwritten(rows: npt.NDArray[Any]) -> Tensor:
    with warnings.catch_warnings():
        # A tensor cannot be read-only as the store's arrays are; nothing writes to this one.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(rows)
