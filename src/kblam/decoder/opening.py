"""Places of a form where nothing but a value can follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kblam.decoder.copy_states import CopyState, CopyStep
from kblam.decoder.spans import Spelling

__all__ = ["Opening", "opened"]

# The gate there: what is in no fact can still be written.
_OPEN = 0.97
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Opening:
    """What may be copied where a form asks for a value.

    Attributes:
        factors: What each text's weight is multiplied by, (k * P,).
        texts: Their tokens there, none where the form cannot take them; None is as anywhere.
        spelling: How they are written there; None is as anywhere.
    """

    factors: Sequence[float]
    texts: Sequence[tuple[int, ...]] | None = None
    spelling: Spelling | None = None


def opened(step: CopyStep, opening: Opening, answered: float) -> CopyStep:
    """Return a step whose gate stands open.

    A value begins there and nothing else goes on: a text in another spelling, whose first token was
    the space before the value, is none.

    The weight of texts that do not fit goes to what the model writes by itself: where a number is
    wanted and the fact asked for states none, that of another fact is no answer.

    Args:
        step: What is offered otherwise.
        opening: The place.
        answered: How far the facts may answer, from 0 to 1.
    """
    gate = max(step.gate, _OPEN * answered)
    weights = [w * f for w, f in zip(step.pointer, opening.factors, strict=True)]
    texts = step.texts if opening.texts is None else list(opening.texts)
    spelling = opening.spelling or step.spelling
    kept = [w if text else 0.0 for w, text in zip(weights, texts, strict=True)]
    share = sum(kept)
    return replace(
        step,
        states=[_going_on(state, spelling) for state in step.states],
        gate=gate * share / max(sum(weights), _SMALLEST),
        pointer=[weight / max(share, _SMALLEST) for weight in kept],
        texts=texts,
        spelling=spelling,
    )


def _going_on(state: CopyState, spelling: Spelling) -> CopyState:
    if state.pending and state.spans[-1].spelling.number != spelling.number:
        return CopyState(state.weight, state.finished)
    return state
