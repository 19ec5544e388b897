"""When nothing is left to tell."""

from __future__ import annotations

import pytest
import torch

from kblam.config import COPY_PARTS
from kblam.decoder.closing import has_told_all
from kblam.decoder.copy_states import CopiedSpan, CopyState

VALUE, NAME = COPY_PARTS.index("value"), 1 - COPY_PARTS.index("value")
# The first two facts state one property of one entity, the third something else.
ALIKE = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])


def state(*spans: tuple[int, int], pending: tuple[int, ...] = ()) -> CopyState:
    """Texts of one token, one after the other: (fact, part) each."""
    copied = [CopiedSpan(fact, part, at, at + 1, 1.0) for at, (fact, part) in enumerate(spans)]
    return CopyState(1.0, tuple(copied), pending)


@pytest.mark.parametrize(
    ("spans", "left", "told"),
    [
        ([(2, NAME), (2, VALUE)], 0.0, True),
        ([(2, NAME), (2, VALUE)], 0.3, False),  # another fact was asked for too
        ([(2, VALUE)], 0.0, False),  # "Acme is where Ann works"
        ([(2, VALUE), (2, NAME)], 0.0, False),  # it ends with a name
        ([(0, NAME), (0, VALUE)], 0.0, False),  # there is another value
        ([(0, NAME), (0, VALUE), (1, VALUE)], 0.0, True),
        ([(1, NAME), (0, VALUE), (1, VALUE)], 0.0, True),  # named by the other one
        ([(2, NAME), (2, VALUE), (0, VALUE), (1, VALUE)], 0.0, False),  # the last is not named
        ([], 0.0, False),
    ],
)
def test_a_sentence_is_over_once_all_of_it_is_told(
    spans: list[tuple[int, int]], left: float, told: bool
) -> None:
    assert has_told_all(state(*spans), len(spans), left, ALIKE) is told
    # Some words later, or in the middle of a value, it goes on.
    assert not has_told_all(state(*spans), len(spans) + 1, left, ALIKE)
    assert not has_told_all(state(*spans, pending=(7,)), len(spans), left, ALIKE)
