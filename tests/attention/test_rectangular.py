"""One softmax over facts and prompt, and the parts that make it up."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kblam.attention import (
    attention_with_lse,
    fact_attention,
    grouped_scores,
    grouped_values,
    length_bias,
    merge_attention,
    rectangular_attention,
)

EXACT = {"rtol": 1e-9, "atol": 1e-9}


class Case(NamedTuple):
    """Double precision, so that what is equal in mathematics is equal to nine digits."""

    query: Tensor
    key: Tensor
    value: Tensor
    fact_query: Tensor
    fact_key: Tensor
    fact_value: Tensor
    mask: Tensor
    fact_bias: Tensor
    fact_mask: Tensor

    @property
    def scaling(self) -> float:
        return float(self.query.shape[-1] ** -0.5)


@st.composite
def cases(draw, min_facts: int = 1) -> Case:
    seed = draw(st.integers(0, 2**31))
    batch, groups, dim = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    heads = groups * draw(st.integers(1, 3))
    facts, length = draw(st.integers(min_facts, 6)), draw(st.integers(1, 4))
    source, shared = length + draw(st.integers(0, 3)), draw(st.booleans())
    fact_groups = draw(st.sampled_from([groups, 1, heads]))
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    rows = 1 if shared else batch
    fact_mask = torch.rand(rows, facts, generator=generator) < 0.7
    fact_mask[:, 0] = True
    return Case(
        query=random(batch, heads, length, dim),
        key=random(batch, groups, source, dim),
        value=random(batch, groups, source, dim),
        fact_query=random(batch, heads, length, dim),
        fact_key=random(rows, fact_groups, facts, dim),
        fact_value=random(rows, fact_groups, facts, dim),
        mask=torch.ones(length, source, dtype=torch.bool).tril(source - length),
        fact_bias=random(batch, heads, 1, facts).float(),
        fact_mask=fact_mask,
    )


def _facts(case: Case, **changes: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    settings = {"bias": case.fact_bias, "mask": case.fact_mask, **changes}
    return fact_attention(
        case.fact_query, case.fact_key, case.fact_value, scaling=case.scaling, **settings
    )


def _prompt(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    scores = grouped_scores(case.query, case.key) * case.scaling
    return attention_with_lse(
        scores.masked_fill(~case.mask, torch.finfo(scores.dtype).min), case.value
    )


@settings(max_examples=60, deadline=None)
@given(cases())
def test_parts_merged_are_one_softmax(case: Case) -> None:
    expected, weights = rectangular_attention(
        case.query,
        case.key,
        case.value,
        case.fact_query,
        case.fact_key,
        case.fact_value,
        scaling=case.scaling,
        mask=case.mask,
        fact_bias=case.fact_bias,
        fact_mask=case.fact_mask,
    )
    from_facts, fact_lse, fact_weights = _facts(case)
    from_prompt, prompt_lse, prompt_weights = _prompt(case)
    merged, _, share = merge_attention(from_facts, fact_lse, from_prompt, prompt_lse)
    # The parts keep their sums in single precision.
    torch.testing.assert_close(merged, expected, rtol=1e-5, atol=1e-5)
    together = torch.cat(
        [fact_weights * share[..., None], prompt_weights * (1 - share[..., None])], dim=-1
    )
    torch.testing.assert_close(together, weights.float(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        weights.sum(-1), torch.ones_like(weights.sum(-1)), rtol=1e-5, atol=1e-5
    )


@settings(max_examples=40, deadline=None)
@given(cases())
def test_hidden_facts_and_later_tokens_get_nothing(case: Case) -> None:
    _, weights = rectangular_attention(
        *case[:6],
        scaling=case.scaling,
        mask=case.mask,
        fact_bias=case.fact_bias,
        fact_mask=case.fact_mask,
    )
    facts = case.fact_key.shape[-2]
    hidden = ~case.fact_mask[:, None, None, :].expand_as(weights[..., :facts])
    assert (weights[..., :facts][hidden] == 0).all()
    assert (weights[..., facts:][..., ~case.mask] == 0).all()


def test_written_out_for_one_head() -> None:
    """Equation by equation, without any function of the package."""
    torch.manual_seed(0)
    query, fact_query = torch.randn(2, 4), torch.randn(2, 4)
    key, value = torch.randn(2, 4), torch.randn(2, 4)
    fact_key, fact_value = torch.randn(3, 4), torch.randn(3, 4)
    outputs = []
    for t in range(2):
        pulls = [math.exp(float(fact_query[t] @ fact_key[m]) / 2 + 0.3) for m in range(3)]
        pulls += [math.exp(float(query[t] @ key[s]) / 2) for s in range(t + 1)]
        sources = [*fact_value, *value[: t + 1]]
        mixed = sum(pull * source for pull, source in zip(pulls, sources, strict=True))
        outputs.append(mixed / sum(pulls))
    parts = (t[None, None] for t in (query, key, value, fact_query, fact_key, fact_value))
    output, _ = rectangular_attention(
        *parts,
        scaling=0.5,
        mask=torch.ones(2, 2, dtype=torch.bool).tril(),
        fact_bias=torch.tensor(0.3),
    )
    torch.testing.assert_close(output[0, 0], torch.stack(outputs), rtol=1e-5, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_facts_does_not_matter(case: Case, random) -> None:
    order = list(range(case.fact_key.shape[-2]))
    random.shuffle(order)
    output, lse, weights = _facts(case)
    shuffled = case._replace(
        fact_key=case.fact_key[..., order, :],
        fact_value=case.fact_value[..., order, :],
        fact_bias=case.fact_bias[..., order],
        fact_mask=case.fact_mask[:, order],
    )
    other, other_lse, other_weights = _facts(shuffled)
    torch.testing.assert_close(other, output, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(other_lse, lse, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(other_weights, weights[..., order], rtol=1e-5, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(cases())
def test_a_fact_twice_is_the_fact_once_with_log_two_more_score(case: Case) -> None:
    twice = case._replace(
        fact_key=torch.cat([case.fact_key, case.fact_key[..., :1, :]], -2),
        fact_value=torch.cat([case.fact_value, case.fact_value[..., :1, :]], -2),
        fact_bias=torch.cat([case.fact_bias, case.fact_bias[..., :1]], -1),
        fact_mask=torch.cat([case.fact_mask, case.fact_mask[:, :1]], -1),
    )
    bias = case.fact_bias.clone()
    bias[..., 0] += math.log(2)
    output, lse, _ = _facts(twice)
    expected, expected_lse, _ = _facts(case, bias=bias)
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(lse, expected_lse, rtol=1e-5, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(cases(min_facts=3))
def test_shards_merge_in_any_order_and_grouping(case: Case) -> None:
    every, every_lse, _ = _facts(case, mask=None)
    size = case.fact_key.shape[-2]
    cuts = [slice(0, 1), slice(1, 2), slice(2, size)]
    first, second, third = (
        fact_attention(
            case.fact_query,
            case.fact_key[..., cut, :],
            case.fact_value[..., cut, :],
            scaling=case.scaling,
            bias=case.fact_bias[..., cut],
        )[:2]
        for cut in cuts
    )
    left = merge_attention(*merge_attention(*first, *second)[:2], *third)
    right = merge_attention(*first, *merge_attention(*second, *third)[:2])
    swapped = merge_attention(*merge_attention(*third, *first)[:2], *second)
    for output, lse, _ in (left, right, swapped):
        torch.testing.assert_close(output, every, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(lse, every_lse, rtol=1e-5, atol=1e-5)
    back, back_lse, share = merge_attention(*second, *first)
    there, there_lse, other_share = merge_attention(*first, *second)
    torch.testing.assert_close(back, there, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(back_lse, there_lse, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(share, 1 - other_share, rtol=1e-5, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(cases())
def test_a_row_that_sees_no_fact_is_its_prompt_alone(case: Case) -> None:
    mask = case.fact_mask.clone().expand(case.query.shape[0], -1).clone()
    mask[0] = False
    from_facts, fact_lse, _ = _facts(case, mask=mask)
    from_prompt, prompt_lse, _ = _prompt(case)
    merged, _, share = merge_attention(from_facts, fact_lse, from_prompt, prompt_lse)
    assert torch.isfinite(merged).all()
    assert (share[0] == 0).all()
    torch.testing.assert_close(merged[0], from_prompt[0], rtol=1e-6, atol=1e-6)


def test_merging_survives_scores_far_apart() -> None:
    one, two = torch.ones(1, 2), torch.zeros(1, 2)
    for high in (1e4, -1e4):
        merged, lse, share = merge_attention(one, torch.tensor([high]), two, torch.tensor([0.0]))
        assert torch.equal(merged, one if high > 0 else two)
        assert lse.item() == max(high, 0.0)
        assert share.item() == float(high > 0)


@settings(max_examples=30, deadline=None)
@given(cases())
def test_grouped_heads_equal_repeated_keys(case: Case) -> None:
    repeat = case.query.shape[1] // case.key.shape[1]
    key = case.key.repeat_interleave(repeat, dim=1)
    value = case.value.repeat_interleave(repeat, dim=1)
    scores = torch.einsum("bhtd,bhsd->bhts", case.query, key)
    torch.testing.assert_close(grouped_scores(case.query, case.key), scores, **EXACT)
    mixed = torch.einsum("bhts,bhsd->bhtd", scores, value)
    torch.testing.assert_close(grouped_values(scores, case.value), mixed, **EXACT)


@pytest.mark.parametrize("count", [1, 7, 10_000])
def test_length_bias_keeps_the_pull_of_equal_facts_at_the_scale_factor(count: int) -> None:
    bias = length_bias(torch.tensor([count]), 100.0)
    # M facts of score 0 weigh M * exp(log C - log M) = C together.
    assert count * bias.exp().item() == pytest.approx(100.0, rel=1e-5)


def test_length_bias_without_a_factor_and_without_facts() -> None:
    assert torch.equal(length_bias(torch.tensor([3, 5]), None), torch.zeros(2))
    assert torch.isfinite(length_bias(torch.tensor([0]), 10.0)).all()
