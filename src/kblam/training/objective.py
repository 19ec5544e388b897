r"""The loss of the second stage.

With gate :math:`g_t`, pointer :math:`a_{t,m}` over the facts' texts (values, entities,
properties) and the language model's :math:`p_t`, the log-likelihood of an answer of which it is
known what is copied is

.. math::
    \sum_{t \in \text{words}} \log (1 - g_t)\, p_t(y_t) \;+\;
    \sum_{t \in \text{starts}} \log g_t\, a_{t,m(t)}

(a pointer-generator, See et al., ACL 2017, its segments observed); tokens inside a copied text
follow by themselves. To it come selection's cross-entropy ("none of them" being an outcome),
the cross-entropy of the refusal estimate, and on general prompts the divergence from the base.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel

from kblam.decoder import FactSession, KnowledgeAdapter, text_decoder
from kblam.decoder.refusal import refusal_features
from kblam.errors import ConfigError
from kblam.training.batches import IGNORED, Batch

__all__ = [
    "Losses",
    "base_log_probs",
    "check_head",
    "compute_losses",
    "head_logits",
    "last_hidden",
]


# It decides at every token how an answer goes on.
_GATE_WEIGHT = 2.0
# As a share of the largest logit: bfloat16 rounds before a scale or after it.
_HEAD_TOLERANCE = 0.02


@dataclass(frozen=True)
class Losses:
    """The parts of the loss, each a scalar.

    Attributes:
        words: Of the words around what is copied; mean per token.
        gate: Of opening the gate where a text is copied and nowhere else; mean per token of the
            answers, and of general prompts.
        copy: Of pointing at the right text; mean per text.
        selection: Of the gold facts, or of "none of them"; mean per question.
        matching: Of judging which properties are asked for; mean per question.
        refusal: Of the refusal estimate; mean per prompt.
        divergence: From the base on general prompts, mean nats per token.
    """

    words: Tensor
    gate: Tensor
    copy: Tensor
    selection: Tensor
    matching: Tensor
    refusal: Tensor
    divergence: Tensor

    def total(self, kl: float, selection: float, refusal: float) -> Tensor:
        """The weighted sum."""
        return (
            self.words
            + _GATE_WEIGHT * self.gate
            + self.copy
            + selection * (self.selection + self.matching)
            + refusal * self.refusal
            + kl * self.divergence
        )

    def numbers(self) -> dict[str, float]:
        """For the learning curve."""
        return {name: float(value.detach()) for name, value in vars(self).items()}


def last_hidden(model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """The decoder's last hidden states, (B, T, D), without the output embedding."""
    output = text_decoder(model)(
        input_ids=input_ids, attention_mask=attention_mask, use_cache=False
    )
    return output.last_hidden_state  # type: ignore[no-any-return]


def head_logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """What the model's own head makes of hidden states (..., D): (..., V), float32."""
    logits: Tensor = model.get_output_embeddings()(hidden).float()
    config = model.config.get_text_config(decoder=True)
    for name in ("logit_scale", "lm_head_multiplier"):
        logits = logits * _number(config, name, 1.0)
    logits = logits / _number(config, "logits_scaling", 1.0)
    for name in ("final_logit_softcapping", "logits_soft_cap"):
        cap = _number(config, name, 0.0)
        logits = torch.tanh(logits / cap) * cap if cap else logits
    return logits


def _number(config: PretrainedConfig, name: str, otherwise: float) -> float:
    found = getattr(config, name, None)
    return otherwise if found is None else float(found)


@torch.no_grad()
def check_head(model: PreTrainedModel) -> None:
    """Check that :func:`head_logits` makes what the model makes, on a few tokens.

    Families scale and bend their logits under names of their own; an adapter that was trained
    on other logits than the model has would answer badly, and nothing would tell why.

    Args:
        model: The base, without knowledge attached.

    Raises:
        ConfigError: It makes something else.
    """
    size = int(model.config.get_text_config(decoder=True).vocab_size)
    ids = torch.arange(min(8, size), device=model.device)[None]
    mask = torch.ones_like(ids)
    expected = model(input_ids=ids, attention_mask=mask, use_cache=False).logits.float()
    got = head_logits(model, last_hidden(model, ids, mask))
    if not (got - expected).abs().max() <= _HEAD_TOLERANCE * expected.abs().max():
        raise ConfigError(
            f"Expected {type(model).__name__} to make its logits by its output embedding and a "
            "scale or cap known here, got others from it. Train on another base model."
        )


@torch.no_grad()
def base_log_probs(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """The base's distributions on the general prompts of a batch, without facts.

    Returns:
        Mask of the positions compared (B, T), and their log-probabilities (N, V).
    """
    real = batch.attention_mask.bool() & batch.general[:, None]
    rows = batch.general.nonzero()[:, 0]
    if rows.numel() == 0:
        return real, torch.zeros(0, 1, device=real.device)
    hidden = last_hidden(model, batch.input_ids[rows], batch.attention_mask[rows])
    return real, head_logits(model, hidden[real[rows]]).log_softmax(-1)


def compute_losses(
    model: PreTrainedModel,
    adapter: KnowledgeAdapter,
    session: FactSession,
    batch: Batch,
    hidden: Tensor,
    candidates: Tensor,
    gold: Tensor,
    base: tuple[Tensor, Tensor],
    verbs: Tensor,
    matching: Tensor,
) -> Losses:
    """The parts of the loss for one batch.

    Args:
        model: The frozen base.
        adapter: The parts in training.
        session: After the forward pass over the batch.
        batch: The examples.
        hidden: Last hidden states, (B, T, D).
        candidates: Fact indices offered to selection, (B, K).
        gold: True on gold candidates, (B, K).
        base: From :func:`base_log_probs`.
        verbs: True where a candidate's property is a verb, (B, K).
        matching: The loss of the pairs of questions and properties, which is passed on.
    """
    selection, pointer, refusal = session.selection, adapter.pointer, adapter.refusal
    if selection is None or pointer is None or refusal is None:
        raise RuntimeError("Training needs an adapter with selection, pointer and refusal.")
    chosen = candidates.gather(1, selection.index)
    begun = _begun(batch, chosen, selection.visible, pointer.num_parts)
    # How often each text was copied before a position.
    used = begun.long().cumsum(1) - begun.long()
    mask = torch.ones_like(chosen, dtype=torch.bool) if session.mask is None else session.mask
    gate, weights = pointer(
        hidden,
        session.keys,
        selection.log_prob,
        selection.log_none,
        mask,
        used,
        verbs.gather(1, selection.index),
    )
    is_word = batch.labels != IGNORED
    logits = head_logits(model, hidden[is_word])
    if pointer.coverage is not None:
        told = pointer.told(used, selection.log_prob.detach())
        logits = logits + told[is_word] @ pointer.coverage_logits(model)
    log_probs = logits.log_softmax(-1)
    token = log_probs.gather(1, batch.labels[is_word][:, None])[:, 0]
    # A gold fact that selection left out cannot be pointed at; selection's own loss mends that.
    is_start = begun.any(-1)
    pointed = (weights + torch.where(begun, 0.0, -1e4)).logsumexp(-1)
    copy = -pointed[is_start].sum() / is_start.sum().clamp_min(1)
    refuse_logit = refusal(
        hidden[torch.arange(hidden.shape[0]), batch.last], refusal_features(session, batch.last)
    )
    return Losses(
        words=-token.mean(),
        gate=_gate_loss(gate, is_word, is_start, batch),
        copy=copy,
        selection=_selection_loss(session, gold),
        matching=matching,
        refusal=F.binary_cross_entropy_with_logits(refuse_logit, batch.refuse),
        divergence=_divergence(model, hidden, base),
    )


def _begun(batch: Batch, chosen: Tensor, visible: Tensor, num_parts: int) -> Tensor:
    """Where which text of the selected facts begins to be copied, (B, T, k * P).

    Args:
        batch: The examples.
        chosen: The selected facts' indices, (B, k).
        visible: Which of them may be seen, (B, k).
        num_parts: Texts of a fact, P.
    """
    starts, parts = batch.starts, batch.parts
    begun = (starts[:, :, None] == chosen[:, None, :]) & (starts != IGNORED)[:, :, None]
    begun = begun & visible[:, None, :]
    kinds = torch.arange(num_parts, device=parts.device)
    return (begun.unsqueeze(-1) & (parts[:, :, None] == kinds)[:, :, None]).flatten(2)


def _gate_loss(gate: Tensor, is_word: Tensor, is_start: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of the gate (B, T), tokens of answers weighing alike wherever it stands.

    General prompts are counted apart. They are long and easily told: among the others, they would
    leave nothing to be learned from a gate that opens at the wrong word of an answer.
    """
    in_answer = is_word | is_start
    opened = is_start[in_answer].float()
    answers = F.binary_cross_entropy_with_logits(gate[in_answer], opened)
    in_general = batch.general[:, None] & batch.attention_mask.bool()
    others = -F.logsigmoid(-gate[in_general]).sum() / in_general.sum().clamp_min(1)
    return answers + others


def _selection_loss(session: FactSession, gold: Tensor) -> Tensor:
    """Cross-entropy against all gold facts alike, or against "none of them"."""
    selection = session.selection
    assert selection is not None
    is_gold = (gold.gather(1, selection.index) & selection.visible).float()
    count = is_gold.sum(1)
    found = -(selection.log_prob * is_gold).sum(1) / count.clamp_min(1.0)
    nothing_to_find = ~gold.any(1)
    loss = torch.where(nothing_to_find, -selection.log_none, found)
    known = nothing_to_find | (count > 0)
    return (loss * known).sum() / known.sum().clamp_min(1)


def _divergence(model: PreTrainedModel, hidden: Tensor, base: tuple[Tensor, Tensor]) -> Tensor:
    """KL(base || with facts), mean nats per token of the general prompts."""
    real, expected = base
    if expected.shape[0] == 0:
        return hidden.new_zeros((), dtype=torch.float32)
    got = head_logits(model, hidden[real]).log_softmax(-1)
    return (expected.exp() * (expected - got)).sum(-1).mean()
