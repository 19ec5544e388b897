"""Attention in encoder space equals attention on knowledge tokens."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from kblam.attention import (
    absorb_query,
    absorbed_fact_attention,
    fact_attention,
    key_norm_scale,
)

shapes = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**31),
        "batch": st.integers(1, 3),
        "groups": st.integers(1, 3),
        "per_group": st.integers(1, 3),
        "length": st.integers(1, 4),
        "facts": st.integers(1, 6),
        "width": st.integers(2, 7),
        "dim": st.integers(2, 5),
        "shared": st.booleans(),
    }
)


class _Random:
    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator, dtype=torch.float64)


def _compare(shape: dict, *, key_norm: bool) -> None:
    random = _Random(shape["seed"])
    batch, groups, width, dim = (shape[name] for name in ("batch", "groups", "width", "dim"))
    heads, rows = groups * shape["per_group"], 1 if shape["shared"] else batch
    query = random(batch, heads, shape["length"], dim)
    keys, values = (random(rows, shape["facts"], width) for _ in range(2))
    key_weight, key_bias = random(groups, dim, width), random(groups, dim)
    value_weight, value_bias = random(groups, dim, width), random(groups, dim)
    bias = random(batch, 1, 1, shape["facts"])
    mask = torch.arange(shape["facts"])[None] <= torch.arange(rows)[:, None]
    scale = None
    row = torch.einsum("bme,gde->bgmd", keys, key_weight) + key_bias[None, :, None]
    if key_norm:
        # The norm runs over all heads together, so the centring does as well.
        flat = row.transpose(1, 2).flatten(2)
        normed = F.layer_norm(flat, flat.shape[-1:], eps=1e-5)
        row = normed.view(rows, -1, groups, dim).transpose(1, 2)
        key_weight = key_weight - key_weight.mean((0, 1))
        key_bias = key_bias - key_bias.mean()
        scale = key_norm_scale(keys, key_weight.flatten(0, 1), key_bias.flatten())
    tokens = torch.einsum("bme,gde->bgmd", values, value_weight) + value_bias[None, :, None]
    expected = fact_attention(query, row, tokens, scaling=0.7, bias=bias, mask=mask)
    got = absorbed_fact_attention(
        *absorb_query(query, key_weight, key_bias),
        keys,
        values,
        value_weight,
        value_bias,
        scaling=0.7,
        key_scale=scale,
        bias=bias,
        mask=mask,
    )
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4, check_dtype=False)


@settings(max_examples=60, deadline=None)
@given(shapes)
def test_absorbed_equals_materialised(shape: dict) -> None:
    _compare(shape, key_norm=False)


@settings(max_examples=60, deadline=None)
@given(shapes)
def test_absorbed_equals_materialised_with_a_key_norm(shape: dict) -> None:
    _compare(shape, key_norm=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 9), st.integers(2, 9))
def test_key_norm_scale_is_the_layer_norms_own(seed: int, width: int, outputs: int) -> None:
    random = _Random(seed)
    keys, weight, bias = random(2, 5, width), random(outputs, width), random(outputs)
    row = keys @ weight.T + bias
    scale = key_norm_scale(keys, weight - weight.mean(0), bias - bias.mean())
    normed = (row - row.mean(-1, keepdim=True)) * scale[..., None]
    torch.testing.assert_close(
        normed, F.layer_norm(row, row.shape[-1:], eps=1e-5), rtol=1e-3, atol=1e-3
    )


def test_absorbed_scores_are_the_dot_products() -> None:
    random = _Random(0)
    query, weight, bias = random(1, 4, 2, 3), random(2, 3, 5), random(2, 3)
    fact = random(5)
    absorbed, constant = absorb_query(query, weight, bias)
    for head in range(4):
        key = weight[head // 2] @ fact + bias[head // 2]
        for position in range(2):
            expected = query[0, head, position] @ key
            got = absorbed[0, head, position] @ fact + constant[0, head, position, 0]
            torch.testing.assert_close(got, expected)
