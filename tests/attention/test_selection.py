"""Which facts a prompt is about: exact, whatever the blocks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kblam.attention import gather_facts, pool_tokens, score_facts, select_among, select_top_k
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


@st.composite
def large_searches(draw) -> tuple[Tensor, Tensor, Tensor | None]:
    """Half-precision keys, many alike or almost, more of them than there are candidates."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    batch, facts = draw(st.integers(1, 3)), draw(st.sampled_from([65, 300, 1500]))
    width = draw(st.sampled_from([3, 24]))
    per_row = draw(st.booleans())
    kinds = draw(st.sampled_from([1, 5, 100, facts]))
    prototypes = torch.nn.functional.normalize(
        torch.randn(batch if per_row else 1, kinds, width, generator=generator), dim=-1
    )
    keys = prototypes[:, torch.randint(kinds, (facts,), generator=generator)]
    if draw(st.booleans()):
        # Apart by less than what is left of single precision once half of it is rounded off.
        keys = keys + 1e-4 * torch.randn(keys.shape, generator=generator)
    query = 20.0 * torch.randn(batch, width, generator=generator)
    shown = draw(st.sampled_from([None, 0.0, 0.01, 0.5]))
    mask = None
    if shown is not None:
        mask = torch.rand(draw(st.sampled_from([1, batch])), facts, generator=generator) < shown
    return query, (keys if per_row else keys[0]).half(), mask


@settings(max_examples=60, deadline=None)
@given(large_searches(), st.sampled_from([1, 7, 16, 40]), st.sampled_from([50, 333, 4096]))
def test_top_k_of_half_precision_keys_is_exact(search, k: int, block: int) -> None:
    query, keys, mask = search
    # The definition: every fact in single precision, sorted, equal ones in their order.
    exact = (query[:, None] * keys.float()).sum(-1)
    if mask is not None:
        exact = exact.masked_fill(~mask, -torch.inf)
    expected, order = exact.sort(dim=1, descending=True, stable=True)
    scores, indices = select_top_k(query, keys, k, mask=mask, block=block)
    assert torch.equal(indices, order[:, :k])
    assert torch.equal(scores, expected[:, :k])


@settings(max_examples=60, deadline=None)
@given(large_searches(), st.sampled_from([0.0, 0.01, 0.5, 1.0]), st.sampled_from([50, 4096]))
def test_facts_at_other_places_are_as_if_they_were_not_there(
    search, share: float, block: int
) -> None:
    query, keys, mask = search
    if keys.dim() == 3:
        keys = keys[0]
    generator = torch.Generator().manual_seed(3)
    places = (torch.rand(len(keys), generator=generator) < share).nonzero()[:, 0]
    seen = None if mask is None else mask[:, places]
    expected, order = select_top_k(query, keys[places], 16, mask=seen)
    scores, indices = select_top_k(query, keys, 16, mask=seen, places=places, block=block)
    assert torch.equal(scores, expected)
    assert torch.equal(indices, places[order])
    # What stands elsewhere may be anything at all.
    elsewhere = torch.ones(len(keys), dtype=torch.bool).index_fill(0, places, False)
    other = keys.masked_fill(elsewhere[:, None], torch.nan)
    same = select_top_k(query, other, 16, mask=seen, places=places, block=block)
    assert torch.equal(same[0], scores)
    assert torch.equal(same[1], indices)


def test_a_batch_gets_what_each_prompt_gets_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    keys = torch.nn.functional.normalize(torch.randn(5000, 32, generator=generator), dim=1).half()
    query = torch.randn(9, 32, generator=generator)
    scores, indices = select_top_k(query, keys, 16, block=777)
    for row in range(9):
        own_scores, own_indices = select_top_k(query[row : row + 1], keys, 16)
        assert torch.equal(indices[row], own_indices[0])
        assert torch.equal(scores[row], own_scores[0])


@pytest.mark.parametrize("facts", [40, 3000])
def test_scores_are_differentiable_in_the_query(facts: int) -> None:
    generator = torch.Generator().manual_seed(2)
    keys = torch.randn(facts, 8, generator=generator).half()
    query = torch.randn(2, 8, generator=generator, requires_grad=True)
    scores, indices = select_top_k(query, keys, 4)
    scores.sum().backward()
    assert query.grad is not None
    torch.testing.assert_close(query.grad, gather_facts(keys, indices).float().sum(1))


def test_a_scan_holds_neither_a_copy_of_the_keys_nor_all_scores() -> None:
    from torch.profiler import ProfilerActivity, profile

    keys, query = torch.ones(40_000, 64).half().add_(torch.rand(40_000, 1)), torch.rand(4, 64)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        select_top_k(query, keys, 8, block=2048)
        select_top_k(query, keys, 8, block=2048, places=torch.arange(1, 40_000))
    largest = max(event.self_cpu_memory_usage for event in recorded.events())
    assert largest < keys.nbytes / 10


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


def test_the_best_of_some_candidates_are_those_of_all_if_they_are_among_them() -> None:
    generator = torch.Generator().manual_seed(2)
    keys = torch.nn.functional.normalize(torch.randn(3000, 32, generator=generator), dim=1).half()
    query = torch.randn(3, 32, generator=generator)
    expected = select_top_k(query, keys, 8)
    rows = []
    for row in range(3):
        others = torch.randperm(3000, generator=generator)[: 200 + 50 * row]
        rows.append(torch.unique(torch.cat([expected[1][row], others])))
    width = max(map(len, rows))
    candidates = torch.zeros(3, width, dtype=torch.long)
    seen = torch.zeros(3, width, dtype=torch.bool)
    for row, found in enumerate(rows):
        candidates[row, : len(found)], seen[row, : len(found)] = found, True
    scores, index = select_among(query, keys, candidates, seen, 8)
    assert torch.equal(scores, expected[0])
    assert torch.equal(index, expected[1])
