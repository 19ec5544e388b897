"""Ranking the selected facts again by the words of the question."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny_decoders import attached, make_adapter, make_facts, make_model
from torch import Tensor
from transformers import PreTrainedModel

from kblam.decoder import FactInput, KnowledgeAdapter, Selection
from kblam.decoder.refusal import refusal_features
from kblam.encoding import Evidence

PROMPTS = torch.tensor([[5, 9, 17, 23], [8, 3, 40, 2]])


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return make_model("llama")


@pytest.fixture(scope="module")
def adapter(model: PreTrainedModel) -> KnowledgeAdapter:
    adapter = make_adapter(model, matching=True)
    adapter.match.direct[0] = 30.0  # the share of the name that is there decides
    return adapter


class Told:
    """Evidence for one fact: its name stands in the question; and whose name lacks something.

    All properties are verbs, or none is.
    """

    def __init__(self, fact: int, excess_of: int = -1, *, verbs: bool = False) -> None:
        self.fact = fact
        self.excess_of = excess_of
        self.verbs = verbs
        self.seen: list[tuple[list[list[int]], list[list[bool]]]] = []

    def __call__(self, index: Tensor, visible: Tensor) -> Evidence:
        self.seen.append((index.tolist(), visible.tolist()))
        named = torch.zeros(*index.shape, 4)
        named[..., 0] = (index == self.fact).float()
        generator = torch.Generator().manual_seed(0)
        # The same for a fact wherever it stands.
        table = torch.nn.functional.normalize(torch.randn(50, 12, generator=generator), dim=-1)
        excess = torch.zeros(*index.shape, 2)
        excess[..., 0] = (index == self.excess_of).float()
        verbs = torch.full(index.shape, self.verbs)
        return Evidence(named, excess, table[:1].expand(len(index), -1), table[index], verbs)


def run(
    model: PreTrainedModel, adapter: KnowledgeAdapter, facts: FactInput, prompts: Tensor = PROMPTS
) -> tuple[Tensor, Selection, Tensor]:
    with torch.no_grad(), attached(model, adapter) as decoder, decoder.facts(facts) as session:
        logits = model(prompts).logits
        assert session.selection is not None
        return logits, session.selection, refusal_features(session)


def with_query(facts: FactInput, **changes: object) -> FactInput:
    query = torch.nn.functional.normalize(torch.ones(2, 12), dim=-1)
    return dataclasses.replace(facts, encoder_query=query, **changes)


def test_the_fact_that_is_named_comes_first(model, adapter) -> None:
    facts = with_query(make_facts(9))
    _, before, _ = run(model, adapter, facts)
    last = int(before.index[0, -1])
    told = Told(last)
    _, after, _ = run(model, adapter, dataclasses.replace(facts, evidence=told))
    assert after.index[0, 0] == last
    assert after.log_prob[0, 0] > -0.01
    assert sorted(after.index[0].tolist()) == sorted(before.index[0].tolist())
    # Best first, and similarity in the same order as the facts.
    assert (after.log_prob.diff(dim=1) <= 1e-6).all()
    query = facts.encoder_query
    expected = (facts.keys[after.index] @ query.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(after.similarity, expected)
    # It is asked about what the query chose, once.
    assert told.seen == [(before.index.tolist(), [[True] * 4] * 2)]


def test_a_fact_whose_name_lacks_something_comes_later(model) -> None:
    adapter = make_adapter(model, matching=True)
    facts = with_query(make_facts(9))
    _, before, _ = run(model, adapter, dataclasses.replace(facts, evidence=Told(-1)))
    first = int(before.index[0, 0])
    lacking = dataclasses.replace(facts, evidence=Told(-1, excess_of=first))
    adapter.match.excess_inner.zero_()
    _, same, _ = run(model, adapter, lacking)
    assert torch.equal(same.log_prob, before.log_prob)
    adapter.match.excess_direct[0] = -10.0
    _, after, _ = run(model, adapter, lacking)
    assert after.index[0, -1] == first
    place = before.index[0].tolist().index(first)
    torch.testing.assert_close(after.judged[0, -1], before.judged[0, place] - 40.0)


def test_a_verb_is_judged_together_with_its_value(model) -> None:
    adapter = make_adapter(model, matching=True)
    adapter.match.direct[4] = 30.0  # how near the property is to the question decides
    facts = with_query(make_facts(9))
    turned = dataclasses.replace(facts, values=facts.values.roll(1, dims=-1))

    def judged(facts: FactInput, *, verbs: bool) -> Tensor:
        told = Told(-1, verbs=verbs)
        _, selection, _ = run(model, adapter, dataclasses.replace(facts, evidence=told))
        return selection.judged.gather(1, selection.index.argsort())  # by fact, not by rank

    noun, verb = judged(facts, verbs=False), judged(facts, verbs=True)
    assert torch.equal(judged(turned, verbs=False), noun)
    assert not torch.allclose(judged(turned, verbs=True), verb)
    # The nearer the value is to what is asked, the more the fact is asked for.
    asked = Told(-1)(torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1)).question[0]
    apt = dataclasses.replace(facts, values=asked.expand_as(facts.values))
    assert (judged(apt, verbs=True) > noun).all()
    # A value that says nothing of what is asked takes nothing from a verb that says it all.
    foreign = dataclasses.replace(facts, values=-asked.expand_as(facts.values))
    assert torch.equal(judged(foreign, verbs=True), noun)


def test_refusal_is_told_how_much_the_best_fact_is_asked_for(model, adapter) -> None:
    facts = with_query(make_facts(9))
    _, selection, features = run(model, adapter, dataclasses.replace(facts, evidence=Told(3)))
    assert torch.equal(features[:, -1], selection.judged[:, 0].clamp(-10.0, 10.0))
    assert features[:, -1].abs().min() > 0.0
    _, selection, features = run(model, adapter, facts)
    assert not selection.judged.any()
    assert not features[:, -1].any()


def test_without_evidence_selection_is_as_if_there_were_no_match_head(model, adapter) -> None:
    facts = with_query(make_facts(9))
    plain = make_adapter(model)
    logits, selection, features = run(model, adapter, facts)
    expected, same, others = run(model, plain, facts)
    assert torch.equal(logits, expected)
    assert torch.equal(selection.index, same.index)
    assert torch.equal(features, others)


def test_the_order_of_facts_does_not_matter(model, adapter) -> None:
    facts = with_query(make_facts(9))
    order = torch.randperm(9, generator=torch.Generator().manual_seed(5))
    place = order.argsort()
    told = Told(3, verbs=True)

    def moved(index: Tensor, visible: Tensor) -> Evidence:
        return told(order[index], visible)

    logits, selection, _ = run(model, adapter, dataclasses.replace(facts, evidence=told))
    other, again, _ = run(
        model,
        adapter,
        dataclasses.replace(
            facts, keys=facts.keys[order], values=facts.values[order], evidence=moved
        ),
    )
    assert torch.equal(again.index, place[selection.index])
    torch.testing.assert_close(other, logits, rtol=1e-4, atol=1e-5)


def test_hidden_facts_leave_no_trace(model, adapter) -> None:
    """Not even where fewer facts may be seen than are selected."""
    facts = with_query(make_facts(9))
    mask = torch.zeros(2, 9, dtype=torch.bool)
    mask[:, [1, 4]] = True
    hidden = Told(0, verbs=True)
    logits, selection, _ = run(
        model, adapter, dataclasses.replace(facts, mask=mask, evidence=hidden)
    )
    assert all(sum(row) == 2 for row in hidden.seen[0][1])
    for row, shown in zip(*hidden.seen[0], strict=True):
        assert {fact for fact, seen in zip(row, shown, strict=True) if seen} == {1, 4}
    assert {*selection.index[0, :2].tolist()} == {1, 4}
    assert (selection.log_prob[:, 2:] < -1e4).all()
    expected, _, _ = run(
        model,
        adapter,
        dataclasses.replace(
            facts,
            keys=facts.keys[[1, 4]],
            values=facts.values[[1, 4]],
            evidence=lambda index, visible: Told(0, verbs=True)(
                torch.tensor([1, 4])[index], visible
            ),
        ),
    )
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


def test_the_question_before_counts_as_much_as_the_gate_says(model) -> None:
    adapter = make_adapter(model)
    facts = make_facts(9)
    asked, before = facts.keys[2].expand(2, -1), facts.keys[6].expand(2, -1)
    alone = dataclasses.replace(facts, encoder_query=asked, context_query=torch.zeros(2, 12))
    leaning = dataclasses.replace(facts, encoder_query=asked, context_query=before)
    with torch.no_grad():
        for parameter in (adapter.selection.maps, adapter.selection.metric):
            parameter.zero_()
        adapter.selection.context_bias.fill_(10.0)
        _, without, _ = run(model, adapter, alone)
        _, open_gate, _ = run(model, adapter, leaning)
        adapter.selection.context_bias.fill_(-10.0)
        _, shut_gate, _ = run(model, adapter, leaning)
    assert without.index[0, 0] == shut_gate.index[0, 0] == 2
    torch.testing.assert_close(without.log_prob, shut_gate.log_prob, rtol=1e-2, atol=1e-2)
    assert {2, 6} == set(open_gate.index[0, :2].tolist())
