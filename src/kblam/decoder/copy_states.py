"""How a text may have come about: what of it was copied, and what was written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kblam.decoder.spans import Ending, Spelling

__all__ = ["CopiedSpan", "CopyState", "CopyStep", "likeliest"]

_WITHIN_TEXT = Spelling(spaced=True)
_TRACE = 1e-18
_SMALLEST = 1e-24


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
    spelling: Spelling = _WITHIN_TEXT


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
        gate: The probability that a text of a fact is copied next.
        pointer: Of each of k * P texts, that it is this one.
        texts: Their tokens as they would stand here; none where there is no such text.
        probs: Of the language model's own next token, (V,).
        probs_after: The same right after a copied text, by what it ends in.
        spelling: How a copied text is written.
    """

    states: list[CopyState]
    gate: float
    pointer: list[float]
    texts: list[tuple[int, ...]]
    probs: Tensor
    probs_after: Mapping[Ending, Tensor]
    spelling: Spelling

    def words(self, ended: Ending | None) -> Tensor:
        """The language model's probabilities, (V,), after a text that ended in that or in none."""
        return self.probs if ended is None else self.probs_after.get(ended, self.probs)

    def log_probs(self) -> Tensor:
        """The log-probabilities of the next token over all states, (V,)."""
        free: dict[Ending | None, float] = defaultdict(float)
        for state in self.states:
            if not state.pending:
                free[state.ended] += state.weight
        starting = sum(free.values())
        # A form may forbid the rest of a text: then it is as the model would go on.
        mixed = self.probs * (free.pop(None, 0.0) * (1.0 - self.gate) + _TRACE)
        for ended, weight in free.items():
            mixed.add_(self.words(ended), alpha=weight * (1.0 - self.gate))
        for state in self.states:
            if state.pending:
                mixed[state.pending[0]] += state.weight
        begun = [
            (tokens[0], weight)
            for tokens, weight in zip(self.texts, self.pointer, strict=True)
            if tokens
        ]
        if starting and begun:
            first, weights = zip(*begun, strict=True)
            places = torch.tensor(first, device=mixed.device)
            shares = torch.tensor(weights, device=mixed.device) * (starting * self.gate)
            mixed.index_add_(0, places, shares)
        return mixed.clamp_min_(_SMALLEST).log_()

    def reading(self, parts: int) -> list[float]:
        """How much each fact is read for the next token, summed over its P texts and the states.

        Args:
            parts: P.
        """
        weights = [0.0] * (len(self.pointer) // parts)
        for state in self.states:
            if state.pending:
                weights[state.spans[-1].fact] += state.weight
            else:
                for place, share in enumerate(self.pointer):
                    weights[place // parts] += state.weight * self.gate * share
        return weights


def likeliest(states: Sequence[CopyState]) -> CopyState:
    """The most probable of several ways."""
    return max(states, key=lambda state: state.weight)
