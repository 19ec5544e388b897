"""Telling whether weights were changed since something was made of them."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

__all__ = ["state_of"]


def state_of(weights: Iterable[Tensor]) -> tuple[tuple[int, object], ...]:
    """What differs once one of the weights was replaced or written to.

    Weights made in inference mode do not count what is written to them: their state never equals
    an earlier one.
    """
    return tuple(
        (weight.data_ptr(), object() if weight.is_inference() else weight._version)
        for weight in weights
    )
