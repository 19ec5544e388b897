"""The forms that are quick equal the one that one reads first."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kblam.attention import (
    attention_with_lse,
    fact_attention,
    fused_attention_with_lse,
    joint_attention,
    merge_attention,
    prompt_scores,
    rectangular_attention,
)
from kblam.attention.joint import _for_kernel

B, H, G, T, S, M, D = 2, 6, 2, 7, 11, 5, 8
SCALING = D**-0.5


def _drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def prompt() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries, keys, values, and a causal bias whose first tokens in row 0 are padding."""
    seen = torch.ones(T, S, dtype=torch.bool).tril(S - T).expand(B, 1, -1, -1).clone()
    seen[0, :, :, :6] = False
    bias = torch.zeros(B, 1, T, S).masked_fill(~seen, torch.finfo(torch.float32).min)
    return (
        _drawn(B, H, T, D, seed=1),
        _drawn(B, G, S, D, seed=2),
        _drawn(B, G, S, D, seed=3),
        bias,
    )


@pytest.fixture
def facts() -> tuple[Tensor, Tensor, Tensor]:
    """Queries for facts, their keys and values."""
    return _drawn(B, H, T, D, seed=4), _drawn(B, G, M, D, seed=5), _drawn(B, G, M, D, seed=6)


def test_joint_and_merged_attention_are_rectangular_attention(prompt, facts) -> None:
    query, key, value, bias = prompt
    asked, fact_key, fact_value = facts
    fact_bias = _drawn(B, 1, 1, M, seed=7)
    expected, weights = rectangular_attention(
        query, key, value, asked, fact_key, fact_value,
        scaling=SCALING, mask=bias == 0, fact_bias=fact_bias,
    )  # fmt: skip
    scores = prompt_scores(query, key, scaling=SCALING, bias=bias)
    output, shares = joint_attention(
        scores, value, asked, (fact_key, fact_value), scaling=SCALING, fact_bias=fact_bias
    )
    assert torch.allclose(output, expected, atol=1e-5)
    assert torch.allclose(shares, weights[..., :M], atol=1e-6)
    fused = fused_attention_with_lse(query, key, value, scaling=SCALING, bias=bias)
    of_facts, lse, _ = fact_attention(asked, fact_key, fact_value, scaling=SCALING, bias=fact_bias)
    merged, _, _ = merge_attention(of_facts, lse, *fused)
    assert torch.allclose(merged, expected, atol=1e-5)


def test_a_sink_takes_weight_and_gives_nothing(prompt, facts) -> None:
    query, key, value, bias = prompt
    asked, *sources = facts
    scores = prompt_scores(query, key, scaling=SCALING, bias=bias)
    settings = {"scaling": SCALING, "fact_bias": torch.zeros(1, 1, 1, M)}
    without, shares = joint_attention(scores, value, asked, tuple(sources), **settings)
    none = torch.full((H,), -1e9)
    ignored, _ = joint_attention(scores, value, asked, tuple(sources), sink=none, **settings)
    assert torch.allclose(ignored, without, atol=1e-6)
    all_of_it = torch.full((H,), 1e9)
    taken, left = joint_attention(scores, value, asked, tuple(sources), sink=all_of_it, **settings)
    assert taken.abs().max() == 0
    assert left.abs().max() == 0
    assert shares.sum() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_fused_attention_tells_its_normaliser(prompt, dtype: torch.dtype) -> None:
    query, key, value, bias = prompt
    # Row 0's first two queries see nothing at all, as padding does: anything finite will do.
    real = (bias == 0).any(-1)[:, 0]
    assert real.sum() == B * T - 2
    rounded = [part.to(dtype) for part in (query, key, value)]
    output, lse = fused_attention_with_lse(*rounded, scaling=SCALING, bias=bias)
    assert output.dtype == dtype
    assert torch.isfinite(output).all()
    scores = prompt_scores(*(part.float() for part in rounded[:2]), scaling=SCALING, bias=bias)
    expected, expected_lse, _ = attention_with_lse(scores, rounded[2].float())
    close = 1e-5 if dtype == torch.float32 else 3e-2
    by_token = (0, 2, 1, 3)
    assert torch.allclose(
        output.float().permute(by_token)[real], expected.permute(by_token)[real], atol=close
    )
    assert torch.allclose(lse.transpose(1, 2)[real], expected_lse.transpose(1, 2)[real], atol=close)


def test_scores_stay_within_a_softcap(prompt) -> None:
    query, key, _, bias = prompt
    scores = prompt_scores(40 * query, key, scaling=SCALING, bias=None, softcap=3.0)
    assert scores.abs().max() <= 3.0
    with_bias = prompt_scores(40 * query, key, scaling=SCALING, bias=bias, softcap=3.0)
    assert torch.equal(with_bias[bias.expand_as(scores) == 0], scores[bias.expand_as(scores) == 0])


@pytest.mark.parametrize("size", [(B, 1, T, S), (1, 1, T, S), (B, H, T, S), (1, S)])
def test_the_kernels_bias_is_held_once_for_what_shares_it(size: tuple[int, ...]) -> None:
    bias = _drawn(*size, seed=4)
    made = _for_kernel(bias, (B, H, T, S))
    assert torch.equal(made, bias.expand(B, H, T, S))
    assert made.stride(-2) % 16 == 0
    rows = torch.Size(size[:-1]).numel()
    assert made.untyped_storage().nbytes() == rows * 16 * made.element_size()
