"""How a text may have come about: what of it was copied, and what was written."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["CopiedSpan", "CopyState", "CopyStep"]


@dataclass(frozen=True)
class CopiedSpan:
    """A text of a fact copied into an answer.

    Attributes:
        fact: Position among the selected facts.
        part: Which of its texts, as a position in :data:`~kblam.config.COPY_PARTS`.
        start: First token of the answer that belongs to it.
        end: One past the last.
        weight: The pointer's weight when it started.
    """

    fact: int
    part: int
    start: int
    end: int
    weight: float


@dataclass(frozen=True)
class CopyState:
    """One way of having written the tokens so far.

    Attributes:
        weight: Its probability.
        spans: Texts copied, in order; the last may be unfinished.
        pending: Tokens of an unfinished text still to come.
        ended_in_word: A text that ends in a word was finished by the last token.
    """

    weight: float
    spans: tuple[CopiedSpan, ...] = ()
    pending: tuple[int, ...] = ()
    ended_in_word: bool = False


@dataclass
class CopyStep:
    """What was offered after a text: enough to follow any token chosen next."""

    states: list[CopyState]
    gate: float
    pointer: list[float]
    probs: Tensor
    probs_after_word: Tensor
    at_start: bool

    def words(self, state: CopyState) -> Tensor:
        """The language model's probabilities, (V,), as they hold in a state."""
        return self.probs_after_word if state.ended_in_word else self.probs
