"""Scoring many facts up to rounding, in the form in which they are kept.

What a scan may round off is bounded, so that it can be told when it might matter.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from kblam._processor import cpu_capabilities
from kblam.attention._gathering import Int8Facts, ScoredFacts

__all__ = ["rounding", "scanned"]

# Keys converted at a time: they stay in a core's cache until they are multiplied.
_CONVERTED = 1024
# Keys multiplied as they are at a time, so that what comes of them does.
_MULTIPLIED = 8192
_LARGEST = 127


def scanned(query: Tensor, facts: ScoredFacts, start: int, end: int) -> Tensor:
    """Score some facts.

    Args:
        query: (B, E).
        facts: M facts, shared or per row.
        start: The first of them to score.
        end: The one after the last.

    Returns:
        (B, end - start), float32.
    """
    keys = facts.keys
    if _scans_as_stored(keys):
        # Of unit length, so that half precision holds whatever the query's size.
        size: Tensor = query.float().norm(dim=1, keepdim=True)
        size = size.clamp_min(torch.finfo(torch.float32).tiny)
        unit = (query.float() / size).to(_multiplied_in(keys))
        return _products(unit, facts.part(start, end)).float() * size
    query = query.float()
    if not isinstance(keys, Int8Facts) and keys.dtype == torch.float32:
        return _products(query, facts.part(start, end))
    scores = query.new_empty((query.shape[0], end - start))
    if _multiplies_int8(keys):
        digits, weights = _digits(query)
        for first in range(start, end, _MULTIPLIED):
            last = min(first + _MULTIPLIED, end)
            here = scores[:, first - start : last - start]
            _multiply(digits, weights, facts.part(first, last), here)
        return scores
    held = query.new_empty((*keys.shape[:-2], min(_CONVERTED, end - start), keys.shape[-1]))
    for first in range(start, end, _CONVERTED):
        last = min(first + _CONVERTED, end)
        part = facts.part(first, last)
        single = held[..., : last - first, :]
        if isinstance(part, Int8Facts):
            found = _products(query, single.copy_(part.codes)) * part.scale
        else:
            found = _products(query, single.copy_(part))
        scores[:, first - start : last - start] = found
    return scores


def rounding(query: Tensor, chosen: Tensor, keys: Tensor | Int8Facts) -> Tensor:
    """By how much a scan's score and an exact one may differ, (B,), float32.

    Args:
        query: (B, E).
        chosen: Keys of about the length that all have, (B, n, E).
        keys: All of them, as they are kept.
    """
    precision = torch.finfo(_multiplied_in(keys) if _scans_as_stored(keys) else torch.float32).eps
    # Rounding the query and the score, and adding up E products in single precision.
    steps = 2.0 * precision + keys.shape[-1] * torch.finfo(torch.float32).eps
    longest: Tensor = chosen.float().norm(dim=-1).amax(1)
    query = query.detach().float()
    size: Tensor = steps * query.norm(dim=1)
    if _multiplies_int8(keys):
        # Half of the last digit, in every number of the query.
        size = size + keys.shape[-1] ** 0.5 * query.abs().amax(1) / (4 * _LARGEST**2)
    return size * longest


def _scans_as_stored(keys: Tensor | Int8Facts) -> bool:
    # A CPU converts half precision to single about as fast as it reads it; converting it to
    # bfloat16 takes five times as long, though products are quicker then.
    if isinstance(keys, Int8Facts):
        return keys.device.type != "cpu"
    return keys.device.type != "cpu" and keys.dtype in (torch.float16, torch.bfloat16)


def _multiplied_in(keys: Tensor | Int8Facts) -> torch.dtype:
    # Half precision holds the whole numbers of int8 without rounding.
    return torch.float16 if isinstance(keys, Int8Facts) else keys.dtype


def _products(query: Tensor, keys: Tensor | Int8Facts) -> Tensor:
    """Inner products of queries (B, E) and keys in the queries' precision, (B, n)."""
    if isinstance(keys, Int8Facts):
        return _products(query, keys.codes.to(query.dtype)) * keys.scale
    if keys.dim() == 2:
        return query @ keys.T
    return (keys @ query.unsqueeze(-1)).squeeze(-1)


@functools.cache
def _has_int8_products() -> bool:
    """Whether this CPU multiplies int8 and adds up in 32 bits.

    Others add up in 16 bits, which overflows, or have no such instruction at all.
    """
    found = cpu_capabilities()
    has_it = bool(found.get("avx512_vnni") or found.get("amx_int8"))
    return has_it and torch._C._has_mkldnn and hasattr(torch, "_int_mm")


def _multiplies_int8(keys: Tensor | Int8Facts) -> bool:
    shared = isinstance(keys, Int8Facts) and keys.dim() == 2 and keys.device.type == "cpu"
    return shared and _has_int8_products()


def _digits(query: Tensor) -> tuple[Tensor, Tensor]:
    """Write queries (B, E) as two whole numbers each, the second in 254ths of the first.

    Returns:
        The first numbers of all queries and then the second, (E, 2B), int8, and what makes scores
        of their products, (2B, B), float32.
    """
    batch, dimension = query.shape
    step = query.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny) / _LARGEST
    exact = query / step[:, None]
    first = exact.round()
    second = ((exact - first) * (2 * _LARGEST)).round()
    # Written into a new tensor: the product takes strides of single rows at their word.
    digits = torch.empty((dimension, 2 * batch), dtype=torch.int8)
    digits[:, :batch] = first.T
    digits[:, batch:] = second.T
    return digits, torch.cat([step.diag(), step.diag() / (2 * _LARGEST)])


def _multiply(digits: Tensor, weights: Tensor, keys: Tensor | Int8Facts, scores: Tensor) -> None:
    """Score the keys (n, E) for the queries of :func:`_digits` into scores (B, n)."""
    assert isinstance(keys, Int8Facts)
    # Up to 1,040 products add up to less than 2^24, which single precision holds exactly.
    found = torch._int_mm(keys.codes, digits).float() @ weights
    torch.mul(found.T, keys.scale, out=scores)
