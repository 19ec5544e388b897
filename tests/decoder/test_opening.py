"""Where a form asks for a value."""

from __future__ import annotations

import pytest
import torch
from tiny_copying import copying
from tiny_decoders import make_model
from transformers import PreTrainedModel

from kblam.decoder.copy_states import CopiedSpan, CopyState, CopyStep
from kblam.decoder.opening import Opening, opened
from kblam.decoder.spans import Spelling

_TEXT, _NUMBER = Spelling(spaced=True), Spelling(spaced=True, number=True)


@pytest.fixture
def model() -> PreTrainedModel:
    return make_model("llama")


_PROBS = torch.full((4,), 0.25)


def _step(*states: CopyState, gate: float = 0.1) -> CopyStep:
    return CopyStep(
        list(states) or [CopyState(1.0)], gate, [0.75, 0.25], [(1, 2), (3,)], _PROBS, {}, _TEXT
    )


def test_the_gate_stands_open_as_far_as_facts_answer() -> None:
    step = opened(_step(), Opening([1.0, 3.0]), 0.5)
    assert step.gate == pytest.approx(0.97 * 0.5)
    assert step.pointer == pytest.approx([0.5, 0.5])
    assert step.spelling == _TEXT
    assert opened(_step(gate=0.9), Opening([1.0, 1.0]), 0.5).gate == 0.9


def test_what_does_not_fit_leaves_its_weight_to_the_model() -> None:
    step = opened(_step(), Opening([1.0, 1.0], [(), (8,)], _NUMBER), 1.0)
    assert step.gate == pytest.approx(0.97 * 0.25)
    assert step.pointer == [0.0, 1.0]
    assert step.spelling == _NUMBER
    nothing = opened(_step(), Opening([1.0, 0.0], [(), (8,)], _NUMBER), 1.0)
    assert nothing.gate == 0.0
    assert nothing.pointer == [0.0, 0.0]


def test_a_text_begun_in_another_spelling_is_given_up() -> None:
    """The space before a number is no beginning of a string."""
    done, text = CopiedSpan(0, 0, 0, 2, 0.5, _TEXT), CopiedSpan(1, 0, 3, 5, 0.5, _TEXT)
    number = CopiedSpan(1, 0, 3, 5, 0.5, _NUMBER)
    states = CopyState(0.5, (done, text), (7,)), CopyState(0.5, (done, number), (8,))
    step = opened(_step(*states), Opening([1.0, 1.0], [(7,), (8,)], _NUMBER), 1.0)
    assert step.states == [CopyState(0.5, (done,)), states[1]]


def test_a_number_is_written_whole_and_cited(model) -> None:
    """Texts (50, 51) and (60, 61) state the numbers (52, 53) and (62, 63)."""
    # One as good as excluded by what the form calls it.
    opening = Opening([1.0, 1e-6], [(52, 53), (62, 63)], _NUMBER)
    with copying(
        model,
        [[(50, 51), (60, 61)]],
        gate=-30.0,
        number=lambda text: (text[0] + 2, text[1] + 2),
        opens_value=lambda prompt, text: opening if text == (7,) else None,
    ) as copy:
        copy([[]])
        first = 52  # of the first place
        assert copy([[7]])[0].exp()[first] > 0.9
        assert copy([[7, first]])[0].exp()[first + 1] > 0.99
        copy([[7, first, first + 1]])
        spans = copy.processor.spans(0, 1, (7, first, first + 1))
    assert [(span.fact, span.start, span.end) for span in spans] == [(0, 1, 3)]
