"""The attention function that Transformers calls.

Transformers hands attention to a function registered by name. kblam registers one per base
implementation ("sdpa", "eager", ...) that passes straight on where a layer has no facts to
read, so that a model without facts is the base model, bit for bit. The queries a registered
function gets are already rotated; the layer's input hidden states, from which a query head
of its own makes unrotated ones, are taken by a pre-hook on the attention module.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from kblam.attention import (
    absorb_query,
    absorbed_fact_attention,
    attention_with_lse,
    fact_attention,
    grouped_scores,
    merge_attention,
)
from kblam.decoder.query_heads import query_norm
from kblam.decoder.session import FactSession, rows
from kblam.errors import ConfigError

__all__ = ["LAYERS", "PREFIX", "LayerState", "register"]

PREFIX = "kblam_"


class LayerState:
    """What the attention function must know of the layer it runs in.

    Args:
        session: Tells the session under way, or None.
        index: The decoder layer.
    """

    def __init__(self, session: Callable[[], FactSession | None], index: int) -> None:
        self.session = session
        self.index = index
        self.hidden: Tensor | None = None

    def capture(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Pre-hook: keep the layer's input while there are facts to read."""
        if self.session() is not None:
            self.hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]


LAYERS: weakref.WeakKeyDictionary[nn.Module, LayerState] = weakref.WeakKeyDictionary()


def register(base: str) -> str:
    """Register the attention function over one base implementation, with its masks.

    Returns:
        The name to set as a model's attention implementation.
    """
    name = PREFIX + base
    if name not in ALL_ATTENTION_FUNCTIONS:

        def forward(module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
            return _attention_forward(base, module, *args, **kwargs)

        AttentionInterface.register(name, forward)
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[base])
    return name


def _base_function(base: str, module: nn.Module) -> Callable[..., tuple[Tensor, Tensor | None]]:
    if base == "eager":
        # Each family's file has its own; some (Gemma 2, GPT-OSS) do more than the others.
        family = sys.modules[type(module).__module__]
        return family.eager_attention_forward  # type: ignore[no-any-return]
    return ALL_ATTENTION_FUNCTIONS[base]  # type: ignore[no-any-return]


def _attention_forward(
    base: str,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention over prompt and facts; the base's own where there are no facts.

    Args:
        base: Name of the base implementation.
        module: The attention module.
        query: (B, H, T, d), rotated.
        key: (B, G, S, d).
        value: (B, G, S, d).
        attention_mask: (B or 1, 1, T, S), boolean or additive, or None for plain causal.
        **kwargs: Whatever the family passes: ``scaling``, ``softcap``, ``s_aux`` ...

    Returns:
        Output (B, T, H, d), and the base's weights or None.
    """
    state = LAYERS.get(module)
    session = state.session() if state is not None else None
    if state is None or session is None or session.num_facts == 0:
        return _base_function(base, module)(module, query, key, value, attention_mask, **kwargs)
    scaling = kwargs.get("scaling")
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = _prompt_scores(query, key, attention_mask, scaling, kwargs.get("softcap"))
    output, lse, _ = attention_with_lse(scores, value)
    if kwargs.get("s_aux") is not None:
        output, lse = _with_sink(output, lse, kwargs["s_aux"])
    from_facts, fact_lse, weights = _fact_part(session, state, module, query, scaling)
    merged, _, share = merge_attention(from_facts, fact_lse, output, lse)
    session.record(state.index, weights, share)
    return merged.transpose(1, 2).contiguous(), None


def _prompt_scores(
    query: Tensor, key: Tensor, mask: Tensor | None, scaling: float, softcap: float | None
) -> Tensor:
    scores = grouped_scores(query, key).float() * scaling
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    lowest = torch.finfo(scores.dtype).min
    length, source = scores.shape[-2:]
    if mask is None:
        if length == 1:
            return scores
        mask = torch.ones(length, source, dtype=torch.bool, device=scores.device)
        mask = mask.tril(source - length)
    if mask.dtype == torch.bool:
        return scores.masked_fill(~mask[..., :source], lowest)
    return (scores + mask[..., :source].float()).clamp_min(lowest)


def _with_sink(output: Tensor, lse: Tensor, sink: Tensor) -> tuple[Tensor, Tensor]:
    """Count in one learned score per head that takes weight and gives nothing (GPT-OSS)."""
    total = torch.logaddexp(lse, sink.float()[None, :, None].expand_as(lse))
    return (output * (lse - total).exp().unsqueeze(-1)).to(output.dtype), total


def _fact_part(
    session: FactSession, state: LayerState, module: nn.Module, query: Tensor, scaling: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Output (B, H, T, d), log-sum-exp (B, H, T) and weights (B, H, T, k) over the facts."""
    if state.hidden is None:
        raise ConfigError(
            f"Layer {state.index} ran without its input being seen. Call the attention module "
            "through the model, not through a compiled or exported copy."
        )
    hidden, batch = state.hidden, query.shape[0]
    session.select(hidden)
    if session.keys.dtype == torch.float16 != query.dtype:
        # As the store keeps them; converted once for all layers and steps.
        session.keys, session.values = session.keys.float(), session.values.float()
    config, parts = session.adapter.config, session.adapter.layer(state.index)
    if parts.query is not None:
        query = query_norm(module, parts.query(hidden), config.num_heads, config.head_dim)
    bias = session.bias(state.index, batch)
    mask = rows(session.mask, batch)
    if not session.absorbed():
        keys, values = session.tokens(state.index, query.dtype)
        keys, values = rows(keys, batch), rows(values, batch)
        return fact_attention(query, keys, values, scaling=scaling, bias=bias, mask=mask)
    in_encoder, constant = absorb_query(query, *session.key_map(state.index, query.dtype))
    return absorbed_fact_attention(
        in_encoder,
        constant,
        rows(session.keys, batch).to(query.dtype),
        rows(session.values, batch).to(query.dtype),
        *parts.value.per_head(query.dtype),
        scaling=scaling,
        key_scale=rows(session.key_scale(), batch),
        bias=bias,
        mask=mask,
    )
