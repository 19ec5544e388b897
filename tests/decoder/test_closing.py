"""When nothing is left to tell."""

from __future__ import annotations

import pytest
import torch

from kblam.config import COPY_PARTS
from kblam.decoder.closing import has_one_more, has_told_all
from kblam.decoder.copy_states import CopiedSpan, CopyState
from kblam.decoder.grounding import _moved

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


@pytest.mark.parametrize(
    ("spans", "left", "one"),
    [
        ([(0, NAME), (0, VALUE)], 0.4, True),
        ([(1, NAME), (1, VALUE)], 0.6, True),
        ([(0, NAME), (0, VALUE)], 0.6, False),  # another fact was asked for too
        ([(0, NAME), (0, VALUE), (1, VALUE)], 0.0, False),  # all is told
        ([(2, NAME), (2, VALUE)], 0.0, False),  # there is but one
        ([(0, VALUE)], 0.4, False),  # nothing says what it is a value of
        ([(0, VALUE), (0, NAME)], 0.4, False),
        ([], 0.0, False),
    ],
)
def test_one_value_is_left_where_nothing_else_is(
    spans: list[tuple[int, int]], left: float, one: bool
) -> None:
    shares = torch.tensor([0.6, 0.4, 0.0])
    assert has_one_more(state(*spans), len(spans), left, ALIKE, shares) is one
    assert not has_one_more(state(*spans), len(spans) + 1, left, ALIKE, shares)


def test_a_list_of_three_has_two_left_at_first() -> None:
    alike, shares = torch.ones(3, 3, dtype=torch.bool), torch.tensor([0.4, 0.3, 0.3])
    assert not has_one_more(state((0, NAME), (0, VALUE)), 2, 0.6, alike, shares)
    assert has_one_more(state((0, NAME), (0, VALUE), (2, VALUE)), 3, 0.3, alike, shares)


def test_what_was_on_a_comma_is_the_last_items() -> None:
    comma = torch.arange(4) == 0
    moved = _moved(torch.tensor([0.5, 0.3, 0.15, 0.05]), comma, 2)
    torch.testing.assert_close(moved, torch.tensor([0.0, 0.3, 0.65, 0.05]))
