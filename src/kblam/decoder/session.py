"""The facts of one generation, and what the layers have made of them so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kblam.attention import (
    Int8Facts,
    as_tensor,
    gather_facts,
    key_norm_scale,
    length_bias,
    select_among,
    select_top_k,
)
from kblam.decoder.facts import FactInput, Selection, rows
from kblam.decoder.modules import PRIOR_FLOOR, KnowledgeAdapter
from kblam.errors import ConfigError

__all__ = ["FactSession"]

# Up to so many facts a row, knowledge tokens are made once per layer; past it, attention
# runs in encoder space. A query costs H*E*(d+M) absorbed and H*M*d materialised.
_MATERIALISE_UP_TO = 256


@dataclass
class FactSession:
    """State of one generation: made anew for each prompt, kept while it is continued.

    Attributes:
        adapter: The trained parts.
        facts: What may be attended to.
        form: ``"absorbed"``, ``"materialised"``, or by size.
        selection: What the prompt selected, once it is known.
        fact_share: Share of the facts in each layer's attention, (B, T), first forward pass.
        attention: By layer, what its last token gave to each fact, (B, k); kept for a trace.
        trace: Keep the fact attention of the first forward pass's last token, by layer.
    """

    adapter: KnowledgeAdapter
    facts: FactInput
    form: Literal["auto", "absorbed", "materialised"] = "auto"
    trace: bool = False
    selection: Selection | None = None
    fact_share: dict[int, Tensor] = field(default_factory=dict)
    attention: dict[int, Tensor] = field(default_factory=dict)
    keys: Tensor = field(init=False)
    values: Tensor = field(init=False)
    mask: Tensor | None = field(init=False)
    _tokens: tuple[Tensor, Tensor] | None = None
    _key_scale: Tensor | None = None
    _row: tuple[Tensor, Tensor] | None = None
    _bias: tuple[int, Tensor] | None = None
    _prompt_bias: tuple[Tensor | None, Tensor | None] = (None, None)

    def __post_init__(self) -> None:
        expected = self.adapter.config.encoder_dimension
        if self.facts.keys.shape[-1] != expected:
            raise ConfigError(
                f"Expected facts encoded in {expected} dimensions, by "
                f"{self.adapter.config.encoder!r}, got {self.facts.keys.shape[-1]}. "
                "Encode the facts with the adapter's encoder."
            )
        # Without selection every layer reads all facts: only then are some of them copied.
        selects = self.adapter.config.selection is not None
        places = None if selects else self.facts.places
        self.keys = _with_batch(self.facts.keys, places, selects)
        self.values = _with_batch(self.facts.values, places, selects)
        self.mask = self.facts.mask

    @property
    def num_facts(self) -> int:
        """How many facts there are for the batch."""
        return self.facts.count

    def absorbed(self) -> bool:
        """Whether attention runs in encoder space."""
        if self.form == "auto":
            return int(self.keys.shape[-2]) > _MATERIALISE_UP_TO
        return self.form == "absorbed"

    def select(self, hidden: Tensor) -> None:
        """Choose the facts for this layer and those after it, once per session.

        Args:
            hidden: Input of the selection layer, (B, T, D), from the prompt's first token on.
        """
        config, head = self.adapter.config.selection, self.adapter.selection
        if self.selection is not None or config is None or head is None:
            return
        batch = hidden.shape[0]
        mask = self._prompt_mask(hidden)
        length = hidden.shape[1] if mask is None else mask.shape[1]
        encoded = rows(self.facts.encoder_query, batch)
        context = rows(self.facts.context_query, batch)
        query, none = head(hidden[:, :length], mask, encoded, context)
        keys = _for_rows(self.facts.keys, batch)
        scores, index = _filled(*self._best(query, keys, config.top_k), config.top_k)
        visible = scores.isfinite()
        scores = torch.where(visible, scores, torch.finfo(scores.dtype).min)
        # Zero where there is nothing to see: what a row may not see has no part in any number.
        chosen = _seen(as_tensor(gather_facts(keys, index)), visible)
        similarity = torch.zeros_like(scores)
        if encoded is not None:
            similarity = (chosen.float() @ encoded.float().unsqueeze(-1)).squeeze(-1)
        values = _for_rows(self.facts.values, batch)
        told = _seen(as_tensor(gather_facts(values, index)), visible)
        judged = torch.zeros_like(scores)
        if self.adapter.match is not None and self.facts.evidence is not None:
            evidence = self.facts.evidence(index, visible)
            judged = self.adapter.match(evidence, similarity, told).masked_fill(~visible, 0.0)
            scores, order = (scores + judged).sort(dim=1, descending=True, stable=True)
            index, visible = index.gather(1, order), visible.gather(1, order)
            similarity, judged = similarity.gather(1, order), judged.gather(1, order)
            chosen, told = gather_facts(chosen, order), gather_facts(told, order)
        self.keys, self.values = chosen, told
        self.mask = visible
        total = torch.cat([scores, none[:, None]], dim=1).log_softmax(-1)
        self.selection = Selection(index, visible, total[:, :-1], total[:, -1], similarity, judged)

    def _best(self, query: Tensor, keys: Tensor | Int8Facts, k: int) -> tuple[Tensor, Tensor]:
        """Scores of the k best facts for each query, best first, and which they are, (B, k)."""
        mask, places = rows(self.facts.mask, query.shape[0]), self.facts.places
        sees_all = mask is None and places is None
        if self.facts.candidates is not None and sees_all and keys.dim() == 2:
            found = self.facts.candidates(query)
            if found is not None:
                return select_among(query, keys, *found, k)
        return select_top_k(query, keys, k, mask=mask, places=places)

    def _prompt_mask(self, hidden: Tensor) -> Tensor | None:
        mask = rows(self.facts.prompt_mask, hidden.shape[0])
        if mask is not None and mask.shape[1] > hidden.shape[1]:
            raise ConfigError(
                f"Expected the whole prompt of {mask.shape[1]} tokens in the first forward pass, "
                f"got {hidden.shape[1]}. Selection pools over the prompt: do not prefill in chunks."
            )
        return mask

    def bias(self, layer: int, batch: int) -> Tensor:
        """What is added to a layer's fact scores, broadcasting to (B, H, T, k).

        It is the least number where a row may not see a fact.
        """
        if self._bias is None or self._bias[0] != batch:
            self._bias = (batch, self._make_bias(batch))
        return self._bias[1][self.adapter.config.knowledge_layers.index(layer)]

    def _make_bias(self, batch: int) -> Tensor:
        """The bias of all L layers, broadcasting to (L, B, H, T, k)."""
        mask = rows(self.mask, batch)
        if mask is None:
            count = torch.full((1,), self.keys.shape[-2], device=self.keys.device)
        else:
            count = mask.sum(-1)
        layers = self.adapter.config.knowledge_layers
        bias = length_bias(count, self.adapter.config.scale_factor)[:, None]
        bias = bias.expand(len(layers), -1, -1)
        scales = [self.adapter.layer(layer).prior_scale for layer in layers]
        if self.selection is not None and scales[0] is not None:
            prior = rows(self.selection.log_prob.clamp_min(PRIOR_FLOOR), batch)
            scale = torch.stack([s for s in scales if s is not None]).float()
            bias = bias + scale[:, None, None] * prior
        if mask is not None:
            # The least number and not -inf: a row without any fact then loses every merge,
            # instead of becoming NaN.
            bias = torch.where(mask, bias, torch.finfo(bias.dtype).min)
        return bias[:, :, None, None, :]

    def prompt_bias(self, mask: Tensor | None, length: int, source: int) -> Tensor | None:
        """What is added to the prompt's scores, made once for all layers that share a mask.

        Args:
            mask: (B or 1, 1, T, S or more), boolean or additive, or None for plain causal.
            length: T.
            source: S.

        Returns:
            The least number where a token may not be seen, broadcasting to (B, H, T, S).
        """
        if mask is None and length == 1:
            return None
        known, bias = self._prompt_bias
        if bias is None or known is not mask or bias.shape[-2:] != (length, source):
            if mask is None:
                seen = torch.ones(length, source, dtype=torch.bool, device=self.keys.device)
                bias = _least_where(~seen.tril(source - length))
            elif mask.dtype == torch.bool:
                bias = _least_where(~mask[..., :source])
            else:
                bias = mask[..., :source].float().clamp_min(torch.finfo(torch.float32).min)
            self._prompt_bias = (mask, bias)
        return bias

    def key_map(self, layer: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """A layer's key adapter, weight (G, d, E) and bias (G, d), centred for a key norm."""
        parts = self.adapter.layer(layer).key
        if not self.adapter.config.key_norm:
            return parts.per_head(dtype)
        weight, bias = self._centred()
        start = self.adapter.config.knowledge_layers.index(layer) * parts.weight.shape[0]
        end = start + parts.weight.shape[0]
        shape = (parts.num_heads, parts.head_dim)
        return (
            weight[start:end].to(dtype).view(*shape, -1),
            bias[start:end].to(dtype).view(*shape),
        )

    def key_scale(self) -> Tensor | None:
        """1/sigma of each key's LayerNorm, (B or 1, M), one for all layers; None without."""
        if self.adapter.config.key_norm and self._key_scale is None:
            self._key_scale = key_norm_scale(self.keys, *self._centred())
        return self._key_scale

    def _centred(self) -> tuple[Tensor, Tensor]:
        # The LayerNorm runs over the whole row, all layers together, as published.
        if self._row is None:
            blocks = self.adapter.key_blocks()
            weight = torch.cat([block.weight for block in blocks])
            bias = torch.cat([block.bias for block in blocks])
            self._row = (weight - weight.mean(0), bias - bias.mean())
        return self._row

    def tokens(self, layer: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Knowledge tokens of one layer: keys and values, (B or 1, G, M, d).

        Those of all layers are made at once, by one product each, when first asked for.
        """
        if self._tokens is None:
            keys, values = self.adapter.folded(dtype)
            if self.adapter.config.key_norm:
                weight, bias = self._centred()
                size = keys[0].shape[0]  # a spare block, which no layer reads, is left out
                keys = (weight[:size].to(dtype), bias[:size].to(dtype))
            made = F.linear(self.keys.to(dtype), *keys)
            scale = self.key_scale()
            if scale is not None:
                made = made * scale[:, :, None].to(dtype)
            self._tokens = (
                self._by_layer(made),
                self._by_layer(F.linear(self.values.to(dtype), *values)),
            )
        place = self.adapter.config.knowledge_layers.index(layer)
        return self._tokens[0][place], self._tokens[1][place]

    def _by_layer(self, made: Tensor) -> Tensor:
        """Knowledge tokens (B, M, L * G * d) as (L, B, G, M, d)."""
        config = self.adapter.config
        shape = (len(config.knowledge_layers), config.num_key_heads, config.head_dim)
        return made.view(*made.shape[:2], *shape).permute(2, 0, 3, 1, 4)

    def wants(self, layer: int) -> bool:
        """Whether this is the first forward pass, whose attention is kept."""
        return layer not in self.fact_share

    def record(self, layer: int, weights: Tensor) -> None:
        """Keep what a layer attended to in the first forward pass.

        Args:
            layer: The decoder layer.
            weights: Of the facts in the whole attention, (B, H, T, k).
        """
        self.fact_share[layer] = weights.sum(-1).mean(1)
        if self.trace:
            self.attention[layer] = weights[:, :, -1].mean(1).detach()


def _least_where(hidden: Tensor) -> Tensor:
    bias = torch.zeros(hidden.shape, device=hidden.device)
    return bias.masked_fill(hidden, torch.finfo(bias.dtype).min)


def _with_batch(facts: Tensor | Int8Facts, places: Tensor | None, selects: bool) -> Tensor:
    if places is not None:
        facts = facts.index_select(0, places)
    # Of int8 facts that are to be selected, none is read before.
    facts = as_tensor(facts[:0] if selects and isinstance(facts, Int8Facts) else facts)
    return facts if facts.dim() == 3 else facts.unsqueeze(0)


def _filled(scores: Tensor, index: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Always k places: what a row gets then depends on nothing but what it sees."""
    room = (0, k - scores.shape[1])
    return F.pad(scores, room, value=-torch.inf), F.pad(index, room)


def _seen(facts: Tensor, visible: Tensor) -> Tensor:
    return facts.masked_fill(~visible.unsqueeze(-1), 0.0)


def _for_rows(facts: Tensor | Int8Facts, batch: int) -> Tensor | Int8Facts:
    if isinstance(facts, Int8Facts) or facts.dim() == 2:
        return facts
    return rows(facts, batch).expand(batch, -1, -1)
