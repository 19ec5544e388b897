"""How a text may have come about: what of it was copied, and what was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from kblam.decoder.spans import Ending, Spelling

__all__ = ["CopiedSpan", "CopyState", "CopyStep", "likeliest"]


@dataclass(frozen=True)
class CopiedSpan:
    """A text of a fact copied into an answer.

    Attributes:
        fact: Position among the selected facts.
        part: Which of its texts, as a position in :data:`~kblam.config.COPY_PARTS`.
        start: First token of the answer that belongs to it.
        end: One past the last.
        weight: The pointer's weight when it started.
        spelling: How it is written.
    """

    fact: int
    part: int
    start: int
    end: int
    weight: float
    spelling: Spelling


@dataclass(frozen=True)
class CopyState:
    """One way of having written the tokens so far.

    Attributes:
        weight: Its probability.
        spans: Texts copied, in order; the last may be unfinished.
        pending: Tokens of an unfinished text still to come.
        ended: What a text ends in that was finished by the last token.
    """

    weight: float
    spans: tuple[CopiedSpan, ...] = ()
    pending: tuple[int, ...] = ()
    ended: Ending | None = None

    @property
    def finished(self) -> tuple[CopiedSpan, ...]:
        """The texts copied whole."""
        return self.spans[:-1] if self.pending else self.spans


@dataclass
class CopyStep:
    """What was offered after a text: enough to follow any token chosen next.

    Attributes:
        states: How the text may have come about.
        gate: How likely a copied text begins.
        pointer: Which one, (k * P,).
        probs: The language model's probabilities, (V,).
        probs_after: The same right after a copied text, by what it ends in.
        spelling: How a copied text is written.
    """

    states: list[CopyState]
    gate: float
    pointer: list[float]
    probs: Tensor
    probs_after: Mapping[Ending, Tensor]
    spelling: Spelling

    def words(self, ended: Ending | None) -> Tensor:
        """The language model's probabilities, (V,), after a text that ended in that or in none."""
        return self.probs if ended is None else self.probs_after.get(ended, self.probs)


def likeliest(states: Sequence[CopyState]) -> CopyState:
    """The most probable of several ways."""
    return max(states, key=lambda state: state.weight)
