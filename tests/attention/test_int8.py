"""Selection among facts that are kept as int8: exact, whether or not the CPU multiplies int8."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from kblam.attention import (
    Int8Facts,
    _scan,
    as_tensor,
    gather_facts,
    score_facts,
    select_among,
    select_top_k,
)

LOOK = _scan._has_int8_products.__wrapped__
HAS_PRODUCTS = LOOK()
WAYS = ["converted", "halved", *(["multiplied"] if HAS_PRODUCTS else [])]


@pytest.fixture(params=WAYS, autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On any CPU, as on a GPU, and on CPUs that multiply int8."""
    monkeypatch.setattr(_scan, "_has_int8_products", lambda: request.param == "multiplied")
    if request.param == "halved":
        monkeypatch.setattr(_scan, "_scans_as_stored", lambda _: True)


def packed(keys: Tensor) -> Int8Facts:
    scale = keys.abs().amax(-1) / 127
    codes = (keys / scale.clamp_min(1e-30)[..., None]).round().to(torch.int8)
    return Int8Facts(codes, scale)


def unit(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator), dim=-1)


def by_sorting(
    query: Tensor, keys: Int8Facts, k: int, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The definition: every fact in single precision, sorted, equal ones in their order."""
    exact = (query[:, None] * (keys.codes.float() * keys.scale[..., None])).sum(-1)
    if mask is not None:
        exact = exact.masked_fill(~mask, -torch.inf)
    scores, order = exact.sort(dim=1, descending=True, stable=True)
    return scores[:, :k], order[:, :k]


@st.composite
def searches(draw: st.DrawFn) -> tuple[Tensor, Int8Facts, Tensor | None]:
    """Many keys alike or almost, more of them than there are candidates."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    batch, facts = draw(st.integers(1, 3)), draw(st.sampled_from([1, 63, 300, 1500]))
    width = draw(st.sampled_from([1, 3, 24, 65]))
    kinds = draw(st.sampled_from([1, 5, 100, facts]))
    shape = (batch,) if draw(st.booleans()) else ()
    prototypes = torch.randn(*shape, kinds, width, generator=generator)
    keys = packed(prototypes / prototypes.norm(dim=-1, keepdim=True).clamp_min(1e-9))
    chosen = torch.randint(kinds, (facts,), generator=generator)
    keys = keys[:, chosen] if shape else keys[chosen]
    if draw(st.booleans()):
        # Apart by less than what is left of single precision.
        noise = 1 + 1e-6 * torch.randn(keys.scale.shape, generator=generator)
        keys = Int8Facts(keys.codes, keys.scale * noise)
    query = 20.0 * torch.randn(batch, width, generator=generator)
    shown = draw(st.sampled_from([None, 0.0, 0.01, 0.5]))
    mask = None
    if shown is not None:
        mask = torch.rand(draw(st.sampled_from([1, batch])), facts, generator=generator) < shown
    return query, keys, mask


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(searches(), st.sampled_from([1, 7, 16, 40]), st.sampled_from([50, 333, 4096]))
def test_top_k_is_exact(search, k: int, block: int) -> None:
    query, keys, mask = search
    expected, order = by_sorting(query, keys, k, mask)
    scores, indices = select_top_k(query, keys, k, mask=mask, block=block)
    assert torch.equal(indices, order)
    assert torch.equal(scores, expected)
    own = score_facts(query, gather_facts(keys, indices))
    assert torch.equal(score_facts(query, keys).gather(1, indices), own)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_facts_at_other_places_are_as_if_they_were_not_there(share: float) -> None:
    keys, query = packed(unit(9000, 24)), 20.0 * unit(3, 24, seed=1)
    places = (torch.rand(9000, generator=torch.Generator().manual_seed(2)) < share).nonzero()[:, 0]
    expected, order = select_top_k(query, keys[places], 16)
    scores, indices = select_top_k(query, keys, 16, places=places, block=700)
    assert torch.equal(scores, expected)
    assert torch.equal(indices, places[order])


def test_a_batch_gets_what_each_prompt_gets_alone() -> None:
    keys, query = packed(unit(5000, 384)), 20.0 * unit(9, 384, seed=1)
    scores, indices = select_top_k(query, keys, 16, block=777)
    for row in range(9):
        alone = select_top_k(query[row : row + 1], keys, 16)
        assert torch.equal(alone[0][0], scores[row])
        assert torch.equal(alone[1][0], indices[row])


@pytest.mark.parametrize(
    "query",
    [torch.zeros(2, 384), torch.full((2, 384), 1e-38), 1e30 * unit(2, 384), torch.eye(2, 384)],
    ids=["zero", "tiny", "large", "axis"],
)
def test_whatever_the_size_of_a_query(query: Tensor) -> None:
    keys = packed(unit(3000, 384))
    scores, indices = select_top_k(query, keys, 8)
    expected, order = by_sorting(query, keys, 8, None)
    assert torch.equal(scores, expected)
    assert torch.equal(indices, order)


def test_vectors_of_one_number() -> None:
    for seed in range(50):
        query = 20.0 * torch.randn(2, 1, generator=torch.Generator().manual_seed(seed))
        scores, indices = select_top_k(query, packed(torch.ones(300, 1)), 3)
        assert indices.tolist() == [[0, 1, 2]] * 2
        torch.testing.assert_close(scores, query.expand(2, 3))


@pytest.mark.skipif(not HAS_PRODUCTS, reason="needs a CPU that multiplies int8")
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize(("facts", "width", "batch"), [(1, 1, 1), (8193, 384, 1), (100, 1024, 9)])
def test_int8_products_neither_overflow_nor_round(
    facts: int, width: int, batch: int, interleaved: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    held = torch.randint(-127, 128, (facts, width + 4), generator=generator, dtype=torch.int8)
    held[0], held[-1] = 127, -127
    keys = held[:, 4:] if interleaved else held[:, 4:].contiguous()
    digits = torch.randint(-127, 128, (width, 2 * batch), generator=generator, dtype=torch.int8)
    digits[:, 0] = 127
    found = torch._int_mm(keys, digits)
    assert torch.equal(found.long(), keys.long() @ digits.long())


def test_what_a_scan_rounds_off_is_bounded() -> None:
    keys, query = packed(unit(2000, 384)), 20.0 * unit(4, 384, seed=1)
    facts = _scan.ScoredFacts(keys, None)
    exact = (query.double() @ (keys.codes.double() * keys.scale[:, None].double()).T).float()
    off = (_scan.scanned(query, facts, 0, 2000) - exact).abs().amax(1)
    bound = _scan.rounding(query, keys.float().expand(4, -1, -1), keys)
    assert (off < bound).all()
    assert (bound < 0.05).all()


def test_scores_are_differentiable_in_the_query() -> None:
    keys = packed(unit(3000, 8))
    query = unit(2, 8, seed=1).requires_grad_()
    scores, indices = select_top_k(query, keys, 4)
    scores.sum().backward()
    assert query.grad is not None
    torch.testing.assert_close(query.grad, as_tensor(gather_facts(keys, indices)).sum(1))


def test_a_scan_holds_neither_a_copy_of_the_keys_nor_all_scores() -> None:
    from torch.profiler import ProfilerActivity, profile

    keys, query = packed(unit(80_000, 64)), torch.rand(4, 64)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        select_top_k(query, keys, 8, block=2048)
        select_top_k(query, keys, 8, block=2048, places=torch.arange(1, 80_000))
    largest = max(event.self_cpu_memory_usage for event in recorded.events())
    assert largest < keys.nbytes / 5


def test_the_best_of_some_candidates_are_those_of_all() -> None:
    keys, query = packed(unit(3000, 32)), unit(3, 32, seed=1)
    expected = select_top_k(query, keys, 8)
    candidates = torch.arange(3000).expand(3, -1)
    seen = torch.ones(3, 3000, dtype=torch.bool)
    found = select_among(query, keys, candidates, seen, 8)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


@pytest.mark.parametrize(
    ("found", "has"),
    [
        ({}, False),
        ({"avx2": True}, False),
        ({"avx512_vnni": True}, True),
        ({"amx_int8": True}, True),
    ],
)
def test_only_cpus_that_add_up_in_32_bits_multiply_int8(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, bool], has: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    monkeypatch.setattr(torch._C, "_has_mkldnn", True)
    assert LOOK() is has
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not LOOK()
