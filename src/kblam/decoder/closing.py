"""When an answer has told all that it can tell, or all but one value."""

from __future__ import annotations

from torch import Tensor

from kblam.config import COPY_PARTS
from kblam.decoder.copy_states import CopyState

__all__ = ["has_one_more", "has_told_all"]

_VALUE = COPY_PARTS.index("value")
# Facts with so little of the selection left are not what was asked for.
_LEFT = 0.05


def has_told_all(state: CopyState, length: int, left: float, alike: Tensor) -> bool:
    """Whether the sentence under way has nothing more to say.

    It has just told a value after the names that it belongs to, no other value of the same
    property is left, and no other fact was selected. Whatever words went on from there would be
    the model's own ("forest green, slate grey *and black*").

    Args:
        state: How the text so far came about.
        length: Its tokens.
        left: How much of what was selected is still to tell, from 0 to 1.
        alike: True where two facts state the same property of the same entity, (k, k).
    """
    return left < _LEFT and _values_left(state, length, alike) == set()


def has_one_more(state: CopyState, length: int, left: float, alike: Tensor, shares: Tensor) -> bool:
    """Whether the sentence under way has one more value to tell, and then is over.

    What follows is then no comma: "forest green *and* slate grey".

    Args:
        state: How the text so far came about.
        length: Its tokens.
        left: How much of what was selected is still to tell, from 0 to 1.
        alike: True where two facts state the same property of the same entity, (k, k).
        shares: What of the selection each fact has, (k,).
    """
    values = _values_left(state, length, alike)
    if values is None or len(values) != 1:
        return False
    return left - float(shares[values.pop()]) < _LEFT


def _values_left(state: CopyState, length: int, alike: Tensor) -> set[int] | None:
    """The facts that go on with a list of values; None where no value was just told."""
    if state.pending or not state.spans:
        return None
    last = state.spans[-1]
    if last.end != length or last.part != _VALUE:
        return None
    named = {span.fact for span in state.spans if span.part != _VALUE}
    told = {span.fact for span in state.spans if span.part == _VALUE}
    same = set(alike[last.fact].nonzero().flatten().tolist()) | {last.fact}
    return None if named.isdisjoint(same) else same - told
