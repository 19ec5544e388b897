"""Merging parts of one softmax by their log-sum-exp."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["merge_attention"]


def merge_attention(
    first: Tensor, first_lse: Tensor, second: Tensor, second_lse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Join two attention outputs into the output of one softmax over both sources.

    ``out = (e^l1 o1 + e^l2 o2) / (e^l1 + e^l2)``. Associative and commutative, so it joins
    facts with a prompt as well as shards of facts with each other.

    Args:
        first: (..., d).
        first_lse: (...).
        second: (..., d).
        second_lse: (...).

    Returns:
        Output (..., d) in the dtype of ``first``, its log-sum-exp (...), and the share of the
        first part (...), both float32.
    """
    lse = torch.logaddexp(first_lse.float(), second_lse.float())
    share = (first_lse.float() - lse).exp()
    weight = share.unsqueeze(-1)
    merged = weight * first.float() + (1.0 - weight) * second.float()
    return merged.to(first.dtype), lse, share
