"""One softmax over prompt and facts, and the prompt's part by PyTorch's fused attention.

Two forms of the same: for short inputs all scores are written down, which takes the fewest
operations; for long ones the prompt's part is a fused attention that tells its log-sum-exp, and
is merged with the facts' part.

Symbols as in :mod:`kblam.attention.rectangular`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kblam.attention.rectangular import attention_with_lse, grouped_scores, grouped_values

__all__ = ["fused_attention_with_lse", "joint_attention", "prompt_scores"]

_Sources = tuple[Tensor, Tensor]


def prompt_scores(
    query: Tensor,
    key: Tensor,
    *,
    scaling: float,
    bias: Tensor | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Scores of a prompt's tokens, in single precision.

    Args:
        query: (B, H, T, d).
        key: (B, G, S, d).
        scaling: Factor on the dot products.
        bias: Added; the least number where a token may not be seen; broadcasts to (B, H, T, S).
        softcap: Scores are bent to stay within this, as in Gemma 2.

    Returns:
        (B, H, T, S), float32.
    """
    scores = grouped_scores(query * scaling, key).float()
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    return scores if bias is None else scores + bias


def joint_attention(
    prompt: Tensor,
    value: Tensor,
    fact_query: Tensor,
    facts: _Sources,
    *,
    scaling: float,
    fact_bias: Tensor,
    sink: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Rectangular attention of a few tokens (KBLaM, section 4), all scores at once.

    Args:
        prompt: The prompt's scores, (B, H, T, S), float32.
        value: (B, G, S, d).
        fact_query: (B, H, T, d).
        facts: Keys and values of the facts, (B or 1, G, M, d) each.
        scaling: Factor on the facts' dot products.
        fact_bias: Added to the facts' scores; broadcasts to (B, H, T, M).
        sink: A score per head that takes weight and gives nothing (GPT-OSS), (H,).

    Returns:
        Output (B, H, T, d) in the dtype of ``value``, and the facts' weights in the whole
        softmax, (B, H, T, M), float32.
    """
    fact_key, fact_value = facts
    from_facts = grouped_scores(fact_query * scaling, fact_key).float() + fact_bias
    parts = [prompt, from_facts]
    if sink is not None:
        parts.append(sink.float()[None, :, None, None].expand(*prompt.shape[:3], 1))
    weights = torch.cat(parts, dim=-1).softmax(-1)
    length, num_facts = prompt.shape[-1], from_facts.shape[-1]
    of_facts = weights[..., length : length + num_facts]
    output = grouped_values(weights[..., :length].to(value.dtype), value)
    output = output + grouped_values(of_facts.to(fact_value.dtype), fact_value)
    return output, of_facts


def fused_attention_with_lse(
    query: Tensor, key: Tensor, value: Tensor, *, scaling: float, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """PyTorch's fused attention, which also tells its normaliser. It has no gradient.

    Args:
        query: (B, H, T, d).
        key: (B, G, S, d).
        value: (B, G, S, d).
        scaling: Factor on the dot products.
        bias: Added to the scores; broadcasts to (B, H, T, S).

    Returns:
        Output (B, H, T, d) in the dtype of ``query``, log-sum-exp (B, H, T), float32.
    """
    repeats = query.shape[1] // key.shape[1]
    if query.device.type not in ("cpu", "cuda"):
        scores = prompt_scores(query, key, scaling=scaling, bias=bias)
        return attention_with_lse(scores, value)[:2]
    key, value = (part.repeat_interleave(repeats, dim=1) for part in (key, value))
    if bias is not None:
        # In half precision the least single-precision number is -inf, and a row that sees
        # nothing, as padding does, would be NaN.
        bias = bias.clamp_min(torch.finfo(query.dtype).min).to(query.dtype)
    if query.device.type == "cpu":
        output, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, attn_mask=bias, scale=scaling
        )
        return output, lse.float()
    shape = (*query.shape[:3], key.shape[2])
    mask = None if bias is None else _for_kernel(bias, shape)
    output, lse, _, _ = torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, mask, True, scale=scaling
    )
    # The kernel rounds the number of queries up.
    return output, lse[..., : query.shape[2]].float()


def _for_kernel(bias: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A bias as (B, H, T, S); what rows and heads share stands in memory once."""
    return _aligned(bias.expand(*bias.shape[:-1], shape[-1])).expand(shape)


def _aligned(bias: Tensor) -> Tensor:
    """The same in rows that begin at multiples of 16 elements, as the kernel wants them."""
    source = bias.shape[-1]
    padded = bias.new_zeros((*bias.shape[:-1], -(-source // 16) * 16))
    padded[..., :source] = bias
    return padded[..., :source]
