"""Next-token distributions along a given text: recorded, or compared."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

__all__ = ["Follower", "Recorder"]

# What a generation rules out (a refusal rules out all words) counts as this probability, so that
# its divergence is large, not infinite.
_FLOOR = math.log(1e-9)


class Recorder(LogitsProcessor):
    """Keeps what a greedy generation is offered at each step, and what it takes.

    Attributes:
        log_probs: Per step, (B, V).
        tokens: Per step, the likeliest token, (B,).
    """

    def __init__(self) -> None:
        self.log_probs: list[Tensor] = []
        self.tokens: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Keep scores (B, V), and leave them as they are."""
        self.log_probs.append(scores.float().log_softmax(-1))
        self.tokens.append(scores.argmax(-1))
        return scores


class Follower(LogitsProcessor):
    """Makes a generation write the texts of another, and compares what the two were offered.

    Args:
        other: The other generation, of the same prompts in the same order.
        lengths: How many tokens of it count, per row.

    Attributes:
        divergence: Per row, KL(other || this) of each token that counts, in nats.
        agrees: Per row, whether each of these tokens would have been taken here too.
    """

    def __init__(self, other: Recorder, lengths: Sequence[int]) -> None:
        self._other = other
        self._lengths = lengths
        self._step = 0
        self.divergence: list[list[float]] = [[] for _ in lengths]
        self.agrees: list[list[bool]] = [[] for _ in lengths]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Compare scores (B, V), and replace them by the other's token."""
        step = min(self._step, len(self._other.tokens) - 1)
        self._step += 1
        taken = self._other.tokens[step].to(scores.device)  # (B,)
        theirs = self._other.log_probs[step].to(scores.device).clamp_min(_FLOOR)  # (B, V)
        ours = scores.float().log_softmax(-1).clamp_min(_FLOOR)
        divergences = (theirs.exp() * (theirs - ours)).sum(-1)
        same = scores.argmax(-1) == taken
        for row, length in enumerate(self._lengths):
            if step < length:
                self.divergence[row].append(float(divergences[row]))
                self.agrees[row].append(bool(same[row]))
        forced = torch.full_like(scores, -torch.inf)
        return forced.scatter(1, taken[:, None], 0.0)
