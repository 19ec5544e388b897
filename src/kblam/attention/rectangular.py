r"""Rectangular attention, in the form one reads first.

A language token attends to its causal past and to all facts; facts attend to nothing
(KBLaM, Wang et al., ICLR 2025, section 4). With prompt queries :math:`q`, fact queries
:math:`\tilde q`, prompt keys and values :math:`k, v` and knowledge tokens
:math:`\tilde k, \tilde v`, one softmax covers both parts:

.. math::
    s_m = \tilde q \cdot \tilde k_m \,/ \sqrt{d} + \log C - \log M, \qquad
    s_t = q \cdot k_t / \sqrt{d}, \qquad
    o = \sum_m p_m \tilde v_m + \sum_t p_t v_t

Symbols: B batch, H query heads, G key/value heads (H a multiple of G), T query tokens,
S prompt tokens, M facts, d head dimension.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "attention_with_lse",
    "fact_attention",
    "grouped_scores",
    "grouped_values",
    "length_bias",
    "rectangular_attention",
]


def length_bias(num_facts: Tensor, scale_factor: float | None) -> Tensor:
    """The term ``log C - log M`` added to every fact score (KBLaM, section 4, eq. 9).

    It makes the total pull of M facts independent of M.

    Args:
        num_facts: M of each row, shape (...).
        scale_factor: C, or None for no term.

    Returns:
        The bias, shape (...), float32; zero where ``scale_factor`` is None.
    """
    counts = num_facts.to(torch.float32).clamp_min(1.0)
    if scale_factor is None:
        return torch.zeros_like(counts)
    return math.log(scale_factor) - counts.log()


def grouped_scores(query: Tensor, key: Tensor) -> Tensor:
    """Dot products of H query heads with G key heads, without repeating the keys.

    Args:
        query: (B, H, T, d).
        key: (B or 1, G, S, d).

    Returns:
        (B, H, T, S).
    """
    batch, heads, length, dim = query.shape
    groups = key.shape[1]
    grouped = query.reshape(batch, groups, heads // groups * length, dim)
    scores = grouped @ key.transpose(-1, -2)
    return scores.reshape(batch, heads, length, key.shape[-2])


def grouped_values(weights: Tensor, value: Tensor) -> Tensor:
    """Weighted sums of G value heads for H query heads.

    Args:
        weights: (B, H, T, S).
        value: (B or 1, G, S, d).

    Returns:
        (B, H, T, d).
    """
    batch, heads, length, source = weights.shape
    groups = value.shape[1]
    grouped = weights.reshape(batch, groups, heads // groups * length, source)
    return (grouped @ value).reshape(batch, heads, length, value.shape[-1])


def attention_with_lse(scores: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Softmax attention that also tells its normaliser, so that parts can be merged.

    Args:
        scores: (B, H, T, S), masked entries at the dtype's minimum.
        value: (B or 1, G, S, d).

    Returns:
        Output (B, H, T, d) in the dtype of ``value``; log-sum-exp (B, H, T) in float32;
        weights (B, H, T, S) in float32.
    """
    scores = scores.float()
    lse = scores.logsumexp(-1)
    weights = (scores - lse.unsqueeze(-1)).exp()
    return grouped_values(weights.to(value.dtype), value), lse, weights


def fact_attention(
    fact_query: Tensor,
    fact_key: Tensor,
    fact_value: Tensor,
    *,
    scaling: float,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The fact part of rectangular attention, on materialised knowledge tokens.

    Args:
        fact_query: (B, H, T, d).
        fact_key: (B or 1, G, M, d).
        fact_value: (B or 1, G, M, d).
        scaling: Factor on the dot products, usually d ** -0.5.
        bias: Added to the scores; broadcasts to (B, H, T, M).
        mask: True where a fact exists; (B or 1, M).

    Returns:
        Output (B, H, T, d), log-sum-exp (B, H, T), weights within the facts (B, H, T, M).
    """
    scores = grouped_scores(fact_query, fact_key).float() * scaling
    return attention_with_lse(mask_scores(scores, bias, mask), fact_value)


def mask_scores(scores: Tensor, bias: Tensor | None, mask: Tensor | None) -> Tensor:
    """Add a bias and put absent facts at the minimum.

    Args:
        scores: (B, H, T, M), float32.
        bias: Broadcasts to (B, H, T, M), or None.
        mask: (B or 1, M), True where a fact exists, or None.

    Returns:
        (B, H, T, M).
    """
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        # The minimum and not -inf: a row without any fact then has a log-sum-exp that
        # loses every merge, instead of a NaN.
        scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
    return scores


def rectangular_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    fact_query: Tensor,
    fact_key: Tensor,
    fact_value: Tensor,
    *,
    scaling: float,
    mask: Tensor | None = None,
    fact_bias: Tensor | None = None,
    fact_mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One softmax over facts and prompt: the reference every faster form must equal.

    Args:
        query: Prompt queries, (B, H, T, d).
        key: (B, G, S, d).
        value: (B, G, S, d).
        fact_query: (B, H, T, d).
        fact_key: (B or 1, G', M, d).
        fact_value: (B or 1, G', M, d).
        scaling: Factor on all dot products.
        mask: True where a prompt token may be seen; broadcasts to (B, H, T, S).
        fact_bias: Added to the fact scores; broadcasts to (B, H, T, M).
        fact_mask: True where a fact exists, (B or 1, M).

    Returns:
        Output (B, H, T, d) and weights (B, H, T, M + S), facts first.
    """
    fact_scores = grouped_scores(fact_query, fact_key).float() * scaling
    fact_scores = mask_scores(fact_scores, fact_bias, fact_mask)
    scores = grouped_scores(query, key).float() * scaling
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = torch.cat([fact_scores, scores], dim=-1).softmax(-1)
    num_facts = fact_scores.shape[-1]
    from_facts = grouped_values(weights[..., :num_facts].to(fact_value.dtype), fact_value)
    from_prompt = grouped_values(weights[..., num_facts:].to(value.dtype), value)
    return from_facts + from_prompt, weights
