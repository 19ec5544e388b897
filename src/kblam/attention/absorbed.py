r"""Fact attention in encoder space.

The adapters are linear, so they can be moved from the facts to the queries ("absorbed"),
as multi-head latent attention does with its latent keys:

.. math::
    \tilde q \cdot (W_k e_m + b_k) = (W_k^\top \tilde q) \cdot e_m + \tilde q \cdot b_k, \qquad
    \sum_m p_m (W_v e_m + b_v) = W_v \Big(\sum_m p_m e_m\Big) + b_v \sum_m p_m

All layers and heads then share one pair of vectors per fact, 2E numbers. A LayerNorm on the
keys is a centring, which is linear and folded into :math:`W_k`, and one scalar
:math:`1/\sigma_m` per fact, which multiplies the score.

Symbols as in :mod:`kblam.attention.rectangular`; E is the encoder's dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kblam.attention.rectangular import mask_scores

__all__ = ["absorb_query", "absorbed_fact_attention", "key_norm_scale"]


def absorb_query(query: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Carry queries into encoder space.

    Args:
        query: (B, H, T, d).
        weight: Key adapter, (G, d, E).
        bias: (G, d).

    Returns:
        Queries (B, H, T, E) and the constant part of their scores (B, H, T, 1).
    """
    batch, heads, length, dim = query.shape
    groups = weight.shape[0]
    grouped = query.reshape(batch, groups, heads // groups * length, dim)
    in_encoder = (grouped @ weight).reshape(batch, heads, length, weight.shape[-1])
    constant = (grouped @ bias[:, :, None]).reshape(batch, heads, length, 1)
    return in_encoder, constant


def absorbed_fact_attention(
    query: Tensor,
    constant: Tensor,
    keys: Tensor,
    values: Tensor,
    value_weight: Tensor,
    value_bias: Tensor,
    *,
    scaling: float,
    key_scale: Tensor | None = None,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The fact part of rectangular attention without per-layer knowledge tokens.

    Args:
        query: Absorbed queries, (B, H, T, E).
        constant: Constant part of the scores, (B, H, T, 1).
        keys: Encoded keys, (B or 1, M, E).
        values: Encoded values, (B or 1, M, E).
        value_weight: Value adapter, (G, d, E).
        value_bias: (G, d).
        scaling: Factor on the dot products.
        key_scale: 1/sigma of each key's LayerNorm, (B or 1, M), or None without one.
        bias: Added to the scores; broadcasts to (B, H, T, M).
        mask: True where a fact exists, (B or 1, M).

    Returns:
        Output (B, H, T, d), log-sum-exp (B, H, T), weights within the facts (B, H, T, M).
    """
    batch, heads, length, width = query.shape
    flat = query.reshape(batch, heads * length, width)
    scores = (flat @ keys.transpose(-1, -2)).reshape(batch, heads, length, keys.shape[-2])
    scores = (scores + constant).float() * scaling
    if key_scale is not None:
        scores = scores * key_scale[:, None, None, :]
    scores = mask_scores(scores, bias, mask)
    lse = scores.logsumexp(-1)
    weights = (scores - lse.unsqueeze(-1)).exp()
    mixed = weights.to(values.dtype).reshape(batch, heads * length, -1) @ values
    groups, dim = value_bias.shape
    mixed = mixed.reshape(batch, groups, heads // groups * length, width)
    output = mixed @ value_weight.transpose(-1, -2) + value_bias[:, None, :]
    return output.reshape(batch, heads, length, dim), lse, weights


def key_norm_scale(keys: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """1/sigma of a weightless LayerNorm over the adapted key, from the encoded key alone.

    Args:
        keys: Encoded keys, (..., M, E).
        weight: The whole key adapter, already centred over its outputs, (F, E).
        bias: Centred as well, (F,).
        eps: The LayerNorm's epsilon.

    Returns:
        (..., M), float32, or float64 for keys that are.
    """
    width = weight.shape[0]
    exact = torch.promote_types(keys.dtype, torch.float32)
    # |Wc e + bc|^2 / F as a quadratic form: E x E numbers instead of F per fact.
    gram = (weight.T @ weight).to(exact) / width
    cross = 2.0 * (bias @ weight).to(exact) / width
    constant = bias.to(exact).square().mean()
    keys = keys.to(exact)
    variance = ((keys @ gram) * keys).sum(-1) + keys @ cross + constant
    return torch.rsqrt(variance + eps)
