"""The forms that vectors are kept in, and how the numbers lie in memory and on disk.

In half precision a vector is its E numbers. As int8 it is a record: E whole numbers from -127 to
127, and the one factor in single precision that they are to be multiplied by. What is largest in
a vector becomes 127 or -127, so that no number is off by more than 1/254 of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from kblam.errors import ConfigError, StoreCorruptError

__all__ = ["Layout", "Rows", "VectorForm", "expect_form", "layout_of", "unpacked"]

VectorForm = Literal["half", "int8"]
# (M, E) float16, or (M,) records with the fields "scale" and "codes".
Rows = npt.NDArray[Any]

_LARGEST = 127
# What is rounded to infinity.
_BEYOND_HALF = 65520


@dataclass(frozen=True, slots=True)
class Layout:
    """How vectors of one length are kept.

    Attributes:
        form: In which form.
        dimension: Their length E.
    """

    form: VectorForm
    dimension: int

    @property
    def item(self) -> np.dtype[Any]:
        """What an array of vectors is made of."""
        if self.form == "half":
            return np.dtype("<f2")
        fields: list[Any] = [("scale", "<f4"), ("codes", "i1", (self.dimension,))]
        if self.dimension % 4:
            # Factors must lie at multiples of their size.
            fields.append(("spare", "u1", (-self.dimension % 4,)))
        return np.dtype(fields)

    @property
    def nbytes(self) -> int:
        """Bytes of one vector."""
        item = self.item
        return item.itemsize if item.names else item.itemsize * self.dimension

    def empty(self, count: int) -> Rows:
        """Make room for vectors."""
        return np.empty((count, self.dimension) if self.form == "half" else count, self.item)

    def read(self, buffer: Any, count: int, offset: int = 0) -> Rows:
        """Read vectors that lie one after another in a buffer, without copying them."""
        if self.form == "int8":
            return np.frombuffer(buffer, self.item, count, offset)
        flat = np.frombuffer(buffer, "<f2", count * self.dimension, offset)
        return flat.reshape(count, self.dimension)

    def of_blobs(self, blobs: Sequence[bytes]) -> Rows:
        """Read vectors as a database has them, one a row.

        Raises:
            StoreCorruptError: They are not as long as they must be.
        """
        joined = b"".join(blobs)
        if len(joined) != self.nbytes * len(blobs):
            raise StoreCorruptError(
                f"The store's vectors are damaged: {len(blobs)} of them take {len(joined)} bytes, "
                f"expected {self.nbytes * len(blobs)} ({self.form}). Build the store anew."
            )
        return self.read(joined, len(blobs))

    def packed(self, rows: Rows) -> Rows:
        """Return vectors of either form in this one; those that are in it already as they are.

        Raises:
            StoreCorruptError: They hold what no encoder's vectors do: NaN, infinity, or numbers
                beyond half precision.
        """
        if layout_of(rows) == self:
            return rows
        with np.errstate(invalid="ignore"):  # what comes of a damaged factor is refused below
            single = unpacked(rows)
        if not (np.abs(single) < _BEYOND_HALF).all():
            raise StoreCorruptError(
                "The store's vectors are damaged: some of their numbers are too large, or none "
                "at all. Build the store anew."
            )
        if self.form == "half":
            return single.astype("<f2")
        found = np.zeros(len(rows), self.item)
        scale = np.abs(single).max(axis=1, initial=0.0) / np.float32(_LARGEST)
        found["scale"] = scale
        # All numbers of a vector may be zero.
        steps = single / np.where(scale > 0, scale, 1)[:, None]
        found["codes"] = np.clip(np.rint(steps), -_LARGEST, _LARGEST)
        return found


def layout_of(rows: Rows) -> Layout:
    """Tell in which layout vectors are."""
    if rows.dtype.names is None:
        return Layout("half", int(rows.shape[1]))
    return Layout("int8", int(rows.dtype["codes"].shape[0]))


def unpacked(rows: Rows) -> npt.NDArray[np.float32]:
    """Return vectors as numbers, whatever form a store keeps them in.

    Args:
        rows: Some of ``FactVectors.keys`` or ``FactVectors.values``: n vectors of length E.

    Returns:
        (n, E), float32.
    """
    if rows.dtype.names is None:
        return rows.astype(np.float32)
    single: npt.NDArray[np.float32] = rows["codes"].astype(np.float32)
    single *= rows["scale"][:, None]
    return single


def expect_form(form: object) -> None:
    """Refuse what is no form of vectors.

    Raises:
        ConfigError: It is none.
    """
    if form not in get_args(VectorForm):
        raise ConfigError(
            f"Expected 'half' or 'int8' as the form of a store's vectors, got {form!r:.100}."
        )
