"""Selection: which facts a prompt is about.

A selection query is a vector in encoder space, so scoring is a maximum-inner-product search
over the encoded keys. Facts are scored once per prompt; the layers after read the top k.

The keys stay in half precision or int8, as the store keeps them. A scan goes over them in
blocks, all prompts of a batch together, and keeps a few times k candidates; these are scored
again in single precision. What a scan rounds off is bounded, so it is known whether a fact
beyond the candidates could belong among the k best; then, which is rare, all facts are scored in
single precision. Either way the result is the exact one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kblam.attention._gathering import Int8Facts, ScoredFacts, gather_facts
from kblam.attention._scan import rounding, scanned
from kblam.errors import ConfigError

__all__ = ["pool_tokens", "score_facts", "select_among", "select_top_k"]

# Candidates per fact wanted, and at least.
_MARGIN = 4
_LEAST = 64
# Keys scored at a time: a row of scores is all that is kept of them.
_BLOCK = 65_536
# Facts scored exactly at a time, over all rows.
_EXACT = 16_384


def score_facts(query: Tensor, keys: Tensor | Int8Facts) -> Tensor:
    """Inner products of selection queries with encoded keys, in single precision.

    Equal keys get equal scores, to the last bit, wherever they stand.

    Args:
        query: (B, E).
        keys: Shared facts (M, E) or facts per row (B, M, E).

    Returns:
        (B, M), float32.
    """
    products: Tensor = query.float().unsqueeze(1) * keys.float()
    return products.sum(-1)


def select_top_k(
    query: Tensor,
    keys: Tensor | Int8Facts,
    k: int,
    *,
    mask: Tensor | None = None,
    places: Tensor | None = None,
    block: int = _BLOCK,
) -> tuple[Tensor, Tensor]:
    """The k best facts of each row, by blocks, so that no row of M scores need be kept.

    Exactly those that scoring every fact in single precision gives: equal scores keep the
    order of the facts, and facts that the mask hides come last, in their order. The result is
    the same for any block size. Scores are differentiable in the query.

    Args:
        query: (B, E).
        keys: (M, E) or (B, M, E), in any precision or int8, of about equal length each.
        k: How many; fewer come where there are fewer facts.
        mask: True where a row may see a fact, (B or 1, M).
        places: The facts of which the best are wanted, as indices of shared ones in ascending
            order, (U,): the others are not looked at. The mask is then of these, (B or 1, U).
        block: Facts scored at a time.

    Returns:
        Scores (B, k), highest first, float32, and fact indices (B, k). Facts that the mask
        hides have a score of -inf.

    Raises:
        ConfigError: ``k`` is not positive.
    """
    if k < 1:
        raise ConfigError(f"Expected k >= 1 facts to select, got {k}. Raise k.")
    facts = ScoredFacts(keys, places)
    total, batch = facts.total, query.shape[0]
    width = max(_MARGIN * k, _LEAST)
    if mask is not None:
        mask = mask.expand(batch, -1)
    if total <= width:
        everything = torch.arange(total, device=query.device).expand(batch, -1)
        scores = _masked(score_facts(query, facts.part(0, total)), mask)
        scores, best = _ranked(scores, everything, k)
        return scores, facts.named(best)
    with torch.no_grad():
        floor, index = _candidates(query, facts, width, mask, block)
    chosen = facts.gathered(index)
    seen = None if mask is None else mask.gather(1, index)
    scores, best = _ranked(_masked(score_facts(query, chosen), seen), index, k)
    if mask is not None:
        best = _with_hidden(best, scores, mask)
    # Beyond the candidates nothing scores more than this; below -inf there is nothing to see.
    highest = floor + rounding(query, chosen, keys)
    certain = (scores[:, -1] > highest) | floor.isneginf()
    if bool(certain.all()):
        return scores, facts.named(best)
    doubtful = (~certain).nonzero()[:, 0]
    with torch.no_grad():
        exact = _exact_top_k(
            query[doubtful], facts.of(doubtful), k, None if mask is None else mask[doubtful]
        )
    best = best.index_copy(0, doubtful, exact)
    seen = None if mask is None else mask.gather(1, best)
    return _masked(score_facts(query, facts.gathered(best)), seen), facts.named(best)


def select_among(
    query: Tensor, keys: Tensor | Int8Facts, candidates: Tensor, seen: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """The k best facts of those that an index found.

    Args:
        query: (B, E).
        keys: (M, E), in any precision or int8.
        candidates: Indices of facts, (B, C), in ascending order, each once.
        seen: True where there is a candidate, (B, C).
        k: How many.

    Returns:
        Scores and indices as of :func:`select_top_k`, of which this is the result if the k best
        are among the candidates.
    """
    scores, place = select_top_k(query, gather_facts(keys, candidates), k, mask=seen)
    return scores, candidates.gather(1, place)


def _masked(scores: Tensor, mask: Tensor | None) -> Tensor:
    return scores if mask is None else scores.masked_fill(~mask, -torch.inf)


def _ranked(scores: Tensor, index: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best of some facts that stand in their order, (B, n) each."""
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    return scores[:, :k], index.gather(1, order[:, :k])


def _with_hidden(best: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """Fill up rows that see fewer than k facts with the first ones hidden from them."""
    for row in scores[:, -1].isneginf().nonzero()[:, 0].tolist():
        visible = int(scores[row].isfinite().sum())
        hidden = (~mask[row]).nonzero()[:, 0]
        best[row, visible:] = hidden[: best.shape[1] - visible]
    return best


def _candidates(
    query: Tensor, facts: ScoredFacts, width: int, mask: Tensor | None, block: int
) -> tuple[Tensor, Tensor]:
    """Scan all facts for the ``width`` best of each row, up to rounding.

    Returns:
        The lowest score among them, (B,), float32, and their indices in ascending order,
        (B, width).
    """
    batch, total = query.shape[0], facts.total
    best = query.new_zeros((batch, 0), dtype=torch.float32)
    index = torch.zeros((batch, 0), dtype=torch.long, device=query.device)
    for start in range(0, total, block):
        end = min(start + block, total)
        seen = None if mask is None else mask[:, start:end]
        scores = _masked(scanned(query, facts, start, end), seen)
        scores, found = scores.topk(min(width, scores.shape[1]), dim=1, sorted=False)
        best = torch.cat([best, scores], dim=1)
        index = torch.cat([index, found + start], dim=1)
        if best.shape[1] > width:
            best, order = best.topk(width, dim=1, sorted=False)
            index = index.gather(1, order)
    return best.amin(1), index.sort(dim=1).values


def _exact_top_k(query: Tensor, facts: ScoredFacts, k: int, mask: Tensor | None) -> Tensor:
    """Indices of the k best facts, (B, k), every one scored exactly."""
    batch, total = query.shape[0], facts.total
    best = query.new_zeros((batch, 0), dtype=torch.float32)
    index = torch.zeros((batch, 0), dtype=torch.long, device=query.device)
    step = max(1, _EXACT // batch)
    for start in range(0, total, step):
        end = min(start + step, total)
        seen = None if mask is None else mask[:, start:end]
        scores = _masked(score_facts(query, facts.part(start, end)), seen)
        here = torch.arange(start, end, device=query.device)
        best, index = _ranked(
            torch.cat([best, scores], dim=1),
            torch.cat([index, here.expand(batch, -1)], dim=1),
            k,
        )
    return index


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
