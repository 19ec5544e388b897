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
from dataclasses import dataclass
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
    fused_attention_with_lse,
    joint_attention,
    merge_attention,
    prompt_scores,
)
from kblam.decoder.facts import rows
from kblam.decoder.query_heads import query_norm
from kblam.decoder.session import FactSession
from kblam.errors import ConfigError

__all__ = ["BASES", "LAYERS", "PREFIX", "LayerState", "register"]

PREFIX = "kblam_"
# The implementations whose masks have a number or a truth for each pair of tokens. Others have
# blocks (flex attention), or tell padding alone (flash attention).
BASES = ("eager", "sdpa")
# Tokens whose scores are all written down: fewer operations, quicker up to about here.
_WRITTEN_UP_TO = 96


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
        self._has_read = False

    def __deepcopy__(self, memo: dict[int, Any]) -> LayerState:
        """What the hooks of a copied model have: they see none of the original's facts."""
        return LayerState(lambda: None, self.index)

    def capture(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Pre-hook: keep the layer's input while there are facts to read."""
        if self.session() is not None:
            self.hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
            self._has_read = False

    def facts(self) -> FactSession | None:
        """The session to read from now, or None where there are no facts."""
        session = self.session()
        if session is None or session.num_facts == 0:
            return None
        self._has_read = True
        return session

    def check(self, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        """Post-hook: facts that were there must have been read.

        Raises:
            ConfigError: The layer attended past them.
        """
        session = self.session()
        if session is not None and session.num_facts > 0 and not self._has_read:
            raise ConfigError(
                f"Expected {type(module).__name__} to call the attention function that reads "
                f"facts, but layer {self.index} ran without it. If the model's attention "
                "implementation was set after knowledge was attached, detach and attach again; "
                "else use another base model."
            )


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
    session = state.facts() if state is not None else None
    if state is None or session is None:
        return _base_function(base, module)(module, query, key, value, attention_mask, **kwargs)
    scaling = kwargs.get("scaling")
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    prompt = _Prompt(
        query,
        key,
        value,
        session.prompt_bias(attention_mask, query.shape[-2], key.shape[-2]),
        scaling,
        kwargs.get("softcap"),
        kwargs.get("s_aux"),
    )
    fact_query = _fact_query(session, state, module, query)
    if session.absorbed() or prompt.is_long():
        output, weights = _merged(session, state.index, prompt, fact_query)
    else:
        output, weights = joint_attention(
            prompt.scores(),
            value,
            fact_query,
            _tokens(session, state.index, query),
            scaling=scaling,
            fact_bias=session.bias(state.index, query.shape[0]),
            sink=prompt.sink,
        )
    if session.wants(state.index):
        session.record(state.index, weights)
    return output.transpose(1, 2).contiguous(), None


@dataclass(frozen=True)
class _Prompt:
    """The prompt's part of an attention, as the base calls for it.

    Attributes:
        query: (B, H, T, d), rotated.
        key: (B, G, S, d).
        value: (B, G, S, d).
        bias: Added to the scores, broadcasting to (B, H, T, S), or None.
        scaling: Factor on the dot products.
        softcap: What scores are bent to stay within, or None.
        sink: A score per head that takes weight and gives nothing, (H,), or None.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    bias: Tensor | None
    scaling: float
    softcap: float | None
    sink: Tensor | None

    def is_long(self) -> bool:
        """Whether its scores are better not written down."""
        return self.query.shape[-2] > _WRITTEN_UP_TO and not self._has_gradient()

    def _has_gradient(self) -> bool:
        return torch.is_grad_enabled() and (self.query.requires_grad or self.value.requires_grad)

    def scores(self) -> Tensor:
        """All of them, (B, H, T, S), float32."""
        return prompt_scores(
            self.query, self.key, scaling=self.scaling, bias=self.bias, softcap=self.softcap
        )

    def attention(self) -> tuple[Tensor, Tensor]:
        """Its output, (B, H, T, d), and log-sum-exp, (B, H, T)."""
        if self.softcap is None and self.is_long():
            output, lse = fused_attention_with_lse(
                self.query, self.key, self.value, scaling=self.scaling, bias=self.bias
            )
        else:
            output, lse, _ = attention_with_lse(self.scores(), self.value)
        return (output, lse) if self.sink is None else _with_sink(output, lse, self.sink)


def _with_sink(output: Tensor, lse: Tensor, sink: Tensor) -> tuple[Tensor, Tensor]:
    """Count in one learned score per head that takes weight and gives nothing (GPT-OSS)."""
    total = torch.logaddexp(lse, sink.float()[None, :, None].expand_as(lse))
    return (output * (lse - total).exp().unsqueeze(-1)).to(output.dtype), total


def _fact_query(
    session: FactSession, state: LayerState, module: nn.Module, query: Tensor
) -> Tensor:
    """The queries that a layer asks facts with, (B, H, T, d), once facts are selected."""
    if state.hidden is None:
        raise ConfigError(
            f"Layer {state.index} ran without its input being seen. Call the attention module "
            "through the model, not through a compiled or exported copy."
        )
    session.select(state.hidden)
    if session.keys.dtype == torch.float16 != query.dtype:
        # As the store keeps them; converted once for all layers and steps.
        session.keys, session.values = session.keys.float(), session.values.float()
    config, parts = session.adapter.config, session.adapter.layer(state.index)
    if parts.query is None:
        return query
    return query_norm(module, parts.query(state.hidden), config.num_heads, config.head_dim)


def _tokens(session: FactSession, layer: int, query: Tensor) -> tuple[Tensor, Tensor]:
    keys, values = session.tokens(layer, query.dtype)
    return rows(keys, query.shape[0]), rows(values, query.shape[0])


def _merged(
    session: FactSession, layer: int, prompt: _Prompt, query: Tensor
) -> tuple[Tensor, Tensor]:
    """Output (B, H, T, d) and the facts' weights (B, H, T, k), the two parts apart."""
    batch, bias = query.shape[0], session.bias(layer, query.shape[0])
    if session.absorbed():
        in_encoder, constant = absorb_query(query, *session.key_map(layer, query.dtype))
        output, lse, weights = absorbed_fact_attention(
            in_encoder,
            constant,
            rows(session.keys, batch).to(query.dtype),
            rows(session.values, batch).to(query.dtype),
            *session.adapter.layer(layer).value.per_head(query.dtype),
            scaling=prompt.scaling,
            key_scale=rows(session.key_scale(), batch),
            bias=bias,
        )
    else:
        tokens = _tokens(session, layer, query)
        output, lse, weights = fact_attention(query, *tokens, scaling=prompt.scaling, bias=bias)
    merged, _, share = merge_attention(output, lse, *prompt.attention())
    # The weights are as many as facts times tokens: multiplied only where they are kept.
    return merged, weights * share.unsqueeze(-1) if session.wants(layer) else weights
