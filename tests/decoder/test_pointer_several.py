"""Several values of one property are told one after the other."""

from __future__ import annotations

import pytest
import torch
from tiny_copying import copying
from tiny_decoders import make_adapter, make_model
from torch import Tensor

from kblam.config import COPY_PARTS
from kblam.decoder.answer_heads import PointerHead

FACTS, PARTS = 3, len(COPY_PARTS)
SAME, OTHER = [0, 0, 1], [0, 1, 2]


@pytest.fixture(scope="module")
def model():
    return make_model("llama")


@pytest.fixture
def head(model) -> PointerHead:
    """One that points at values, alike as far as selection goes."""
    head = PointerHead(make_adapter(model, copied=COPY_PARTS, coverage=True).config)
    with torch.no_grad():
        head.gate_bias.fill_(8.0)
        head.part_bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
        head.named_bonus.zero_()
    return head


def score(
    head: PointerHead, texts: list[int], told: list[int], mask: list[bool] | None = None
) -> tuple[Tensor, Tensor]:
    """The gate's probability and the weights (k, P), facts of the same text being alike."""
    keys = torch.randn(3, head.map.shape[0], generator=torch.Generator().manual_seed(5))[texts]
    used = torch.zeros(1, 1, FACTS * PARTS)
    used[0, 0, [fact * PARTS for fact in told]] = 1.0
    with torch.no_grad():
        gate, weights = head(
            torch.ones(1, 1, head.gate.shape[0]),
            keys[None],
            torch.full((1, FACTS), -1.1),
            torch.tensor([-20.0]),
            torch.tensor([mask or [True] * FACTS]),
            used,
            torch.zeros(1, FACTS, dtype=torch.bool),
        )
    return torch.sigmoid(gate)[0, 0], weights.exp()[0, 0].unflatten(0, (FACTS, PARTS))


def test_another_value_of_the_property_inherits_the_share_of_one_that_was_told(head) -> None:
    before, _ = score(head, SAME, [])
    gate, weights = score(head, SAME, [0])
    assert gate.item() == pytest.approx(before.item(), abs=0.01)
    assert weights[:, 0].tolist() == pytest.approx([0.01, 0.66, 0.33], abs=0.02)


def test_another_property_does_not(head) -> None:
    before, _ = score(head, OTHER, [])
    gate, weights = score(head, OTHER, [0])
    assert gate.item() == pytest.approx(before.item() * 2 / 3, abs=0.02)
    assert weights[1, 0].item() == pytest.approx(weights[2, 0].item())


def test_when_all_are_told_the_gate_closes(head) -> None:
    gate, _ = score(head, SAME, [0, 1])
    assert gate.item() == pytest.approx(1 / 3, abs=0.03)


def test_a_value_that_may_not_be_seen_changes_nothing(head) -> None:
    mask = [True, False, True]
    alike, weights = score(head, SAME, [0], mask)
    unlike, others = score(head, OTHER, [0], mask)
    assert alike.item() == unlike.item()
    torch.testing.assert_close(weights[[0, 2]], others[[0, 2]], rtol=0, atol=0)


def test_names_that_are_the_same_text_are_told_once(head) -> None:
    with torch.no_grad():
        head.part_bias.copy_(torch.tensor([0.0, 9.0, 0.0]))
    keys = torch.ones(1, FACTS, head.map.shape[0])
    used = torch.zeros(1, 1, FACTS * PARTS)
    used[0, 0, 1] = 1.0
    with torch.no_grad():
        gate, _ = head(
            torch.ones(1, 1, head.gate.shape[0]),
            keys,
            torch.full((1, FACTS), -1.1),
            torch.tensor([-20.0]),
            torch.ones(1, FACTS, dtype=torch.bool),
            used,
            torch.zeros(1, FACTS, dtype=torch.bool),
        )
    assert torch.sigmoid(gate).item() < 0.05


def test_how_much_is_left_to_tell(head) -> None:
    log_prob = torch.tensor([[0.5, 0.3, 0.1]]).log()
    used = torch.zeros(1, 4, FACTS * PARTS)
    used[0, 1, 1] = 1.0  # a name alone
    used[0, 2, 0] = 1.0
    used[0, 3, [0, PARTS, 2 * PARTS]] = 1.0
    left, done = head.told(used, log_prob)[0].T.tolist()
    assert left == pytest.approx([0.0, 0.0, 0.4, 0.0], abs=1e-6)
    assert done == pytest.approx([0.0, 0.0, 0.6, 1.0], abs=1e-6)


def test_words_know_how_much_is_left_to_tell(model) -> None:
    shift = torch.randn(2, model.config.vocab_size, generator=torch.Generator().manual_seed(7))
    values = [(50,), (60,), (70,)]
    texts = [[], [50], [50, 60]]
    with copying(model, [values], gate=-30.0) as copy:
        without = [copy([text]).exp() for text in texts]
    with copying(model, [values], gate=-30.0, coverage=lambda: shift) as copy:
        found = [copy([text]).exp() for text in texts]
    # Nothing was copied, so nothing is known to be left.
    for before, after in zip(without, found, strict=True):
        torch.testing.assert_close(before, after)
    with copying(model, [values], gate=30.0, coverage=lambda: shift) as copy:
        for length, text in enumerate(texts):
            log_probs = copy([text])
            told = {value[0] for value in values} & set(text)
            selection = copy.processor._session.selection
            share = selection.log_prob.exp()[0]
            left = sum(
                float(share[place])
                for place, fact in enumerate(copy.order)
                if values[fact][0] not in told
            )
            logits = copy.words[tuple(text)].log()
            if told:
                logits = logits + left * shift[0] + (1.0 - left) * shift[1]
            words = logits.softmax(-1)
            step = copy.processor._steps[0, tuple(text)]
            torch.testing.assert_close(step.probs, words, rtol=1e-4, atol=1e-6)
            assert length == len(told)
            assert torch.isfinite(log_probs).all()
