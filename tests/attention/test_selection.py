"""Which facts a prompt is about: exact, whatever the blocks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kblam.attention import gather_facts, pool_tokens, score_facts, select_top_k
from kblam.errors import ConfigError


@st.composite
def searches(draw) -> tuple[Tensor, Tensor, Tensor | None]:
    """Small whole numbers: sums are exact in any order, and ties are frequent."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    batch, facts, width = draw(st.integers(1, 3)), draw(st.integers(1, 12)), draw(st.integers(1, 3))
    per_row, masked = draw(st.booleans()), draw(st.sampled_from(["none", "shared", "rows"]))
    query = torch.randint(-2, 3, (batch, width), generator=generator).float()
    shape = (batch, facts, width) if per_row else (facts, width)
    keys = torch.randint(-2, 3, shape, generator=generator).float()
    rows = {"none": 0, "shared": 1, "rows": batch}[masked]
    mask = torch.rand(rows, facts, generator=generator) < 0.6 if rows else None
    return query, keys, mask


def _by_sorting(
    query: Tensor, keys: Tensor, k: int, mask: Tensor | None
) -> tuple[list[list[float]], list[list[int]]]:
    scores, indices = [], []
    for row in range(query.shape[0]):
        own = keys if keys.dim() == 2 else keys[row]
        seen = [True] * len(own) if mask is None else mask[row if len(mask) > 1 else 0].tolist()
        ranked = sorted(
            (-float(query[row] @ own[m]) if seen[m] else float("inf"), m) for m in range(len(own))
        )[:k]
        scores.append([-score for score, _ in ranked])
        indices.append([index for _, index in ranked])
    return scores, indices


@settings(max_examples=150, deadline=None)
@given(searches(), st.integers(1, 15), st.integers(1, 15))
def test_top_k_is_a_full_sort_for_any_block(search, k: int, block: int) -> None:
    query, keys, mask = search
    scores, indices = select_top_k(query, keys, k, mask=mask, block=block)
    expected_scores, expected_indices = _by_sorting(query, keys, k, mask)
    assert scores.tolist() == expected_scores
    assert indices.tolist() == expected_indices
    assert scores.dtype == torch.float32


def test_no_facts_select_nothing() -> None:
    scores, indices = select_top_k(torch.ones(2, 3), torch.zeros(0, 3), 4)
    assert scores.shape == indices.shape == (2, 0)


@pytest.mark.parametrize("k", [0, -1])
def test_fewer_than_one_fact_is_an_error(k: int) -> None:
    with pytest.raises(ConfigError, match=r"k >= 1.*got"):
        select_top_k(torch.ones(1, 3), torch.ones(2, 3), k)


@settings(max_examples=30, deadline=None)
@given(searches())
def test_scores_and_gathered_rows_belong_together(search) -> None:
    query, keys, _ = search
    scores, indices = select_top_k(query, keys, 3)
    rows = gather_facts(keys, indices)
    torch.testing.assert_close((rows @ query.unsqueeze(-1)).squeeze(-1), scores)
    torch.testing.assert_close(score_facts(query, keys).gather(1, indices), scores)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3))
def test_pooling_ignores_masked_tokens(seed: int, length: int, pools: int, padding: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(2, length + padding, 6, generator=generator)
    scores = torch.randn(2, length + padding, pools, generator=generator)
    mask = torch.zeros(2, length + padding, dtype=torch.bool)
    mask[0, padding:] = True  # padded on the left
    mask[1, :length] = True  # and on the right
    pooled = pool_tokens(hidden, scores, mask)
    for row in range(2):
        alone = pool_tokens(
            hidden[row : row + 1, mask[row]], scores[row : row + 1, mask[row]], None
        )
        torch.testing.assert_close(pooled[row : row + 1], alone, rtol=1e-5, atol=1e-6)
    changed = hidden.masked_fill(~mask[..., None], 1e4)
    torch.testing.assert_close(pool_tokens(changed, scores, mask), pooled, rtol=1e-5, atol=1e-5)


def test_pooling_is_a_weighted_mean() -> None:
    hidden = torch.tensor([[[0.0, 2.0], [4.0, 6.0]]])
    even = pool_tokens(hidden, torch.zeros(1, 2, 1), None)
    assert even.tolist() == [[[2.0, 4.0]]]
    last = pool_tokens(hidden, torch.tensor([[[-50.0], [50.0]]]), None)
    assert last.tolist() == [[[4.0, 6.0]]]
