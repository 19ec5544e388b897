"""Facts whose property is a verb are told in sentences of their own."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny_decoders import make_adapter, make_model
from torch import Tensor

from kblam.config import COPY_PARTS
from kblam.decoder.answer_heads import PointerHead

FACTS, PARTS = 3, len(COPY_PARTS)


@pytest.fixture
def head() -> PointerHead:
    config = make_adapter(make_model("llama"), copied=COPY_PARTS).config
    torch.manual_seed(3)
    head = PointerHead(dataclasses.replace(config, verbs=True))
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            if parameter.dim() and not name.startswith("verb_"):
                parameter.normal_()
    return head


def score(head: PointerHead, verbs: list[bool], prior: list[float]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    hidden = torch.randn(1, 1, head.gate.shape[0], generator=generator)
    keys = torch.randn(1, FACTS, head.map.shape[0], generator=generator)
    with torch.no_grad():
        return head(
            hidden,
            keys,
            torch.tensor([prior]),
            torch.tensor([-20.0]),
            torch.ones(1, FACTS, dtype=torch.bool),
            torch.zeros(1, 1, FACTS * PARTS),
            torch.tensor([verbs]),
        )


def test_untrained_it_makes_no_difference(head: PointerHead) -> None:
    """An adapter from before goes on as it was."""
    prior = [0.0, 0.0, 0.0]
    with_verbs, without = score(head, [True, False, True], prior), score(head, [False] * 3, prior)
    torch.testing.assert_close(with_verbs, without)
    plain = PointerHead(dataclasses.replace(_config(head), verbs=False))
    kept = {k: v for k, v in head.state_dict().items() if not k.startswith("verb_")}
    plain.load_state_dict(kept)
    torch.testing.assert_close(score(plain, [True, False, True], prior), without)


def _config(head: PointerHead):
    made = make_adapter(make_model("llama"), copied=COPY_PARTS).config
    assert head.map.shape == (made.encoder_dimension, made.hidden_size)
    return made


@pytest.mark.parametrize("certain", range(FACTS))
def test_the_gate_is_that_of_the_fact_pointed_at(head: PointerHead, certain: int) -> None:
    verbs = [True, False, True]
    with torch.no_grad():
        head.map.zero_()
        head.gate.zero_()
        head.gate_bias.fill_(-8.0)
        head.verb_gate_bias.fill_(16.0)
    prior = [0.0 if fact == certain else -50.0 for fact in range(FACTS)]
    gate, _ = score(head, verbs, prior)
    assert gate.item() == pytest.approx(8.0 if verbs[certain] else -8.0, abs=0.1)


def test_where_several_may_be_meant_the_closed_ones_lose_their_share(head: PointerHead) -> None:
    with torch.no_grad():
        head.map.zero_()
        head.gate.zero_()
        head.gate_bias.fill_(-8.0)
        head.verb_gate_bias.fill_(16.0)
    gate, weights = score(head, [True, False, False], [0.0, 0.0, 0.0])
    assert torch.sigmoid(gate).item() == pytest.approx(1 / 3, abs=0.01)
    shares = weights[0, 0].exp().reshape(FACTS, PARTS).sum(1)
    assert shares[0].item() > 0.99


def test_a_verb_has_parts_of_its_own(head: PointerHead) -> None:
    with torch.no_grad():
        for parameter in (head.part_map, head.part_key, head.part_bias):
            parameter.zero_()
        head.verb_part_bias.copy_(torch.tensor([0.0, 50.0, 0.0]))
    _, weights = score(head, [True, False, False], [0.0, 0.0, 0.0])
    parts = weights[0, 0].exp().reshape(FACTS, PARTS)
    assert parts[0].argmax() == COPY_PARTS.index("entity")
    assert (parts[0] / parts[0].sum())[1] > 0.99
    torch.testing.assert_close(parts[1] / parts[1].sum(), torch.full((PARTS,), 1 / PARTS))
