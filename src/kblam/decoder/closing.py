"""When an answer has told all that it can tell."""

from __future__ import annotations

from torch import Tensor

from kblam.config import COPY_PARTS
from kblam.decoder.copy_states import CopyState

__all__ = ["has_told_all"]

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
    if state.pending or not state.spans or left >= _LEFT:
        return False
    last = state.spans[-1]
    if last.end != length or last.part != _VALUE:
        return False
    named = {span.fact for span in state.spans if span.part != _VALUE}
    told = {span.fact for span in state.spans if span.part == _VALUE}
    same = set(alike[last.fact].nonzero().flatten().tolist()) | {last.fact}
    return not named.isdisjoint(same) and same <= told
