"""Facts in Transformers' own ``generate``, in every way it decodes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_decoders import attached, make_adapter, make_facts, make_model
from torch import Tensor
from transformers import PreTrainedModel

from kblam.decoder import FactInput

NEW_TOKENS = 6


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return make_model("llama")


def _prompts() -> tuple[Tensor, Tensor]:
    """Two prompts, the second four tokens shorter and padded on the left."""
    generator = torch.Generator().manual_seed(7)
    ids = torch.randint(3, 128, (2, 9), generator=generator)
    mask = torch.ones_like(ids)
    ids[1, :4], mask[1, :4] = 0, 0
    return ids, mask


def _facts(rows: int = 2, mask: Tensor | None = None) -> FactInput:
    facts = make_facts(6, rows=rows)
    return FactInput(facts.keys, facts.values, prompt_mask=None if mask is None else mask.bool())


def _generate(model: PreTrainedModel, ids: Tensor, mask: Tensor, **options: Any) -> Tensor:
    settings = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "eos_token_id": None, **options}
    output = model.generate(ids, attention_mask=mask, pad_token_id=0, **settings)  # type: ignore[operator]
    return output[:, ids.shape[1] :]  # type: ignore[no-any-return]


@torch.no_grad()
def test_greedy_decoding_with_a_cache_equals_decoding_without(model: PreTrainedModel) -> None:
    ids, mask = _prompts()
    with attached(model, make_adapter(model)) as decoder:
        with decoder.facts(_facts(mask=mask)):
            cached = _generate(model, ids, mask)
        text = ids
        for _ in range(NEW_TOKENS):
            longer = torch.cat([mask, torch.ones(2, text.shape[1] - mask.shape[1]).long()], 1)
            position = (longer.cumsum(1) - 1).clamp_min(0)
            with decoder.facts(_facts(mask=mask)):
                logits = model(text, attention_mask=longer, position_ids=position, use_cache=False)
            text = torch.cat([text, logits.logits[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(cached, text[:, ids.shape[1] :])


@torch.no_grad()
def test_a_padded_batch_equals_its_rows_alone(model: PreTrainedModel) -> None:
    ids, mask = _prompts()
    facts = _facts(mask=mask)
    with attached(model, make_adapter(model)) as decoder:
        with decoder.facts(facts):
            together = _generate(model, ids, mask)
        for row in range(2):
            real = mask[row].bool()
            one = FactInput(facts.keys[row], facts.values[row])
            with decoder.facts(one):
                alone = _generate(model, ids[row : row + 1, real], mask[row : row + 1, real])
            assert torch.equal(together[row], alone[0])


@torch.no_grad()
def test_beams_and_several_sequences_read_their_own_rows_facts(model: PreTrainedModel) -> None:
    ids, mask = _prompts()
    facts = _facts(mask=mask)
    options = {"num_beams": 3, "num_return_sequences": 2}
    with attached(model, make_adapter(model)) as decoder:
        with decoder.facts(facts):
            together = _generate(model, ids, mask, **options)
        assert together.shape == (4, NEW_TOKENS)
        for row in range(2):
            real = mask[row].bool()
            with decoder.facts(FactInput(facts.keys[row], facts.values[row])):
                alone = _generate(
                    model, ids[row : row + 1, real], mask[row : row + 1, real], **options
                )
            assert torch.equal(together[2 * row : 2 * row + 2], alone)


@torch.no_grad()
def test_one_beam_search_finds_at_least_what_greedy_finds(model: PreTrainedModel) -> None:
    ids, mask = _prompts()
    with attached(model, make_adapter(model)) as decoder:
        scores = []
        for beams in (1, 4):
            with decoder.facts(_facts(rows=1)):
                output = model.generate(  # type: ignore[operator]
                    ids[:1],
                    attention_mask=mask[:1],
                    max_new_tokens=NEW_TOKENS,
                    do_sample=False,
                    num_beams=beams,
                    pad_token_id=0,
                    eos_token_id=None,
                )
            with decoder.facts(
                FactInput(_facts(rows=1).keys, _facts(rows=1).values, prompt_mask=mask[:1].bool())
            ):
                logits = model(output[:, :-1]).logits[:, ids.shape[1] - 1 :].log_softmax(-1)
            written = output[:, ids.shape[1] :]
            scores.append(float(logits.gather(-1, written[..., None]).sum()))
    assert scores[1] >= scores[0] - 1e-4


@torch.no_grad()
def test_sampling_is_repeatable_by_seed(model: PreTrainedModel) -> None:
    ids, mask = _prompts()
    with attached(model, make_adapter(model)) as decoder:
        texts = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            with decoder.facts(_facts(mask=mask)):
                texts.append(_generate(model, ids, mask, do_sample=True, max_new_tokens=16))
    assert torch.equal(texts[0], texts[1])
    assert not torch.equal(texts[0], texts[2])


@torch.no_grad()
def test_a_later_turn_reads_the_facts_given_then(model: PreTrainedModel) -> None:
    ids, _ = _prompts()
    first = ids[:1]
    with attached(model, make_adapter(model)) as decoder:
        with decoder.facts(make_facts(6)):
            reply = _generate(model, first, torch.ones_like(first))
        second = torch.cat([first, reply, torch.tensor([[11, 12, 13]])], dim=1)
        replies = []
        for seed in (2, 20):
            with decoder.facts(make_facts(6, seed=seed)):
                replies.append(model(second).logits[:, -1])
        base = model(second).logits[:, -1]
    assert not torch.allclose(replies[0], replies[1], atol=1e-5)
    assert not torch.allclose(replies[0], base, atol=1e-5)


@torch.no_grad()
def test_several_models_in_one_process_do_not_mix() -> None:
    ids, mask = _prompts()
    families = ("llama", "qwen3")
    models = [make_model(family) for family in families]
    alone = []
    for model in models:
        with attached(model, make_adapter(model)) as decoder, decoder.facts(_facts(mask=mask)):
            alone.append(_generate(model, ids, mask))
    with (
        attached(models[0], make_adapter(models[0])) as first,
        attached(models[1], make_adapter(models[1])) as second,
        first.facts(_facts(mask=mask)),
    ):
        with second.facts(_facts(mask=mask)):
            together = [_generate(model, ids, mask) for model in models]
        unread = _generate(models[1], ids, mask)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    assert torch.equal(unread, _generate(models[1], ids, mask))
