"""Telling whether weights were changed since something was made of them."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

__all__ = ["state_of"]


def state_of(weights: Iterable[Tensor]) -> tuple[tuple[int, int], ...]:
    """What differs once one of the weights was replaced or written to."""
    return tuple((weight.data_ptr(), weight._version) for weight in weights)
