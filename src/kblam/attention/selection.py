"""Selection: which facts a prompt is about.

A selection query is a vector in encoder space, so scoring is a maximum-inner-product search
over the encoded keys. Facts are scored once per prompt; the layers after read the top k.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kblam.errors import ConfigError

__all__ = ["gather_facts", "pool_tokens", "score_facts", "select_top_k"]

_BLOCK = 65_536


def score_facts(query: Tensor, keys: Tensor) -> Tensor:
    """Inner products of selection queries with encoded keys.

    Args:
        query: (B, E).
        keys: Shared facts (M, E) or facts per row (B, M, E).

    Returns:
        (B, M), float32.
    """
    if keys.dim() == 2:
        return (query.to(keys.dtype) @ keys.T).float()
    return (keys @ query.to(keys.dtype).unsqueeze(-1)).squeeze(-1).float()


def select_top_k(
    query: Tensor, keys: Tensor, k: int, *, mask: Tensor | None = None, block: int = _BLOCK
) -> tuple[Tensor, Tensor]:
    """The k best facts of each row, by blocks, so that no row of M scores need be kept.

    Equal scores keep the order of the facts, so the result is the same for any block size.

    Args:
        query: (B, E).
        keys: (M, E) or (B, M, E).
        k: How many; fewer come where there are fewer facts.
        mask: True where a row may see a fact, (B or 1, M).
        block: Facts scored at a time.

    Returns:
        Scores (B, k), highest first, float32, and fact indices (B, k). Facts that the mask
        hides have a score of -inf.

    Raises:
        ConfigError: ``k`` is not positive.
    """
    if k < 1:
        raise ConfigError(f"Expected k >= 1 facts to select, got {k}. Raise k.")
    total = keys.shape[-2]
    best = query.new_zeros((query.shape[0], 0), dtype=torch.float32)
    best_index = torch.zeros((query.shape[0], 0), dtype=torch.long, device=query.device)
    for start in range(0, total, block):
        scores = score_facts(query, keys[..., start : start + block, :])
        if mask is not None:
            scores = scores.masked_fill(~mask[:, start : start + block], -torch.inf)
        index = torch.arange(start, start + scores.shape[1], device=query.device)
        scores = torch.cat([best, scores], dim=1)
        index = torch.cat([best_index, index.expand(query.shape[0], -1)], dim=1)
        best, order = scores.sort(dim=1, descending=True, stable=True)
        best, order = best[:, :k], order[:, :k]
        best_index = index.gather(1, order)
    return best, best_index


def gather_facts(facts: Tensor, index: Tensor) -> Tensor:
    """Rows of a fact tensor.

    Args:
        facts: (M, E) or (B, M, E).
        index: (B, k).

    Returns:
        (B, k, E).
    """
    if facts.dim() == 2:
        return facts[index]
    return facts.gather(1, index.unsqueeze(-1).expand(-1, -1, facts.shape[-1]))


def pool_tokens(hidden: Tensor, scores: Tensor, mask: Tensor | None) -> Tensor:
    """Attention pooling of a prompt's hidden states.

    Args:
        hidden: (B, T, D).
        scores: One score per pooling head and token, (B, T, P).
        mask: True on the prompt's tokens, (B, T).

    Returns:
        (B, P, D).
    """
    scores = scores.float()
    if mask is not None:
        scores = scores.masked_fill(~mask.unsqueeze(-1), torch.finfo(torch.float32).min)
    weights = scores.softmax(1).to(hidden.dtype)
    return weights.transpose(1, 2) @ hidden
