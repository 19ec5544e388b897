"""Attaching knowledge to a Transformers decoder, and detaching it."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from kblam.config import KnowledgeConfig
from kblam.decoder.facts import FactInput
from kblam.decoder.interface import BASES, LAYERS, PREFIX, LayerState, register
from kblam.decoder.layout import AttentionLayout, attention_layout
from kblam.decoder.modules import KnowledgeAdapter
from kblam.decoder.session import FactSession
from kblam.errors import AdapterMismatchError, ConfigError

__all__ = ["AttachedDecoder", "attach", "check_fit"]


def attach(model: PreTrainedModel, adapter: KnowledgeAdapter) -> AttachedDecoder:
    """Let a decoder attend to facts.

    The model's weights stay as they are. Use :meth:`AttachedDecoder.facts` to give facts to
    forward passes and ``generate`` calls, and :meth:`AttachedDecoder.detach` to undo this.

    Args:
        model: Any decoder that uses Transformers' attention interface.
        adapter: Made for a model of this shape.

    Raises:
        AdapterMismatchError: The adapter is for a model of another shape.
        ConfigError: The model has no usable attention layers, was loaded with another attention
            implementation than ``"sdpa"`` or ``"eager"``, or is attached already.
    """
    return AttachedDecoder(model, adapter)


class AttachedDecoder:
    """A decoder with knowledge layers. Made by :func:`attach`.

    Attributes:
        model: The base model.
        adapter: The trained parts.
        layout: The model's attention.
        session: The facts of the forward passes under way, or None.
    """

    def __init__(self, model: PreTrainedModel, adapter: KnowledgeAdapter) -> None:
        self.model = model
        self.adapter = adapter
        self.layout = attention_layout(model)
        self.session: FactSession | None = None
        self._hooks: list[Any] = []
        check_fit(adapter.config, self.layout)
        config = model.config.get_text_config(decoder=True)
        base = config._attn_implementation or "eager"
        if base.startswith(PREFIX):
            if any(module in LAYERS for module in self.layout.modules.values()):
                raise ConfigError(
                    "Expected a model without knowledge attached, got one that has it. It reads "
                    "with one adapter, encoder and tokenizer at a time: call detach() on the "
                    "AttachedDecoder, delete the KBLaM objects that use it, or load it once more."
                )
            # A copy of a model that has knowledge attached: the name came with it, the layers not.
            base = base.removeprefix(PREFIX)
        if base not in BASES:
            raise ConfigError(
                f"Expected a model with the attention implementation 'sdpa' or 'eager', got "
                f"{base!r}, which masks in a way of its own. Load it with "
                "attn_implementation='sdpa', or call set_attn_implementation('sdpa') on it."
            )
        self._config = config
        self._base = base
        config._attn_implementation = register(base)
        # Weak: what a layer holds must not keep the model that the layer is a part of.
        here = weakref.ref(self)
        for index in adapter.config.knowledge_layers:
            module = self.layout.modules[index]
            state = LayerState(lambda: _session_of(here()), index)
            LAYERS[module] = state
            self._hooks.append(module.register_forward_pre_hook(state.capture, with_kwargs=True))
            self._hooks.append(module.register_forward_hook(state.check))

    @contextmanager
    def facts(
        self,
        facts: FactInput,
        *,
        form: Literal["auto", "absorbed", "materialised"] = "auto",
        trace: bool = False,
    ) -> Iterator[FactSession]:
        """Give facts to the forward passes inside the ``with`` block: one generation.

        Args:
            facts: The facts; an empty list leaves the base model as it is.
            form: Run in encoder space, on knowledge tokens, or as the size suggests.
            trace: Keep the fact attention by layer in :attr:`FactSession.attention`.

        Raises:
            ConfigError: The facts have another dimension than the adapter's encoder, the model
                would run layers again for their gradients, or another generation is under way on
                it.
        """
        if torch.is_grad_enabled():
            self._check_runs_once()
        if self.session is not None:
            raise ConfigError(
                "Expected one generation at a time on one model, got a second one. Hold a lock "
                "around generations, or load the model twice."
            )
        self.session = FactSession(self.adapter, facts, form=form, trace=trace)
        try:
            yield self.session
        finally:
            self.session = None
            for module in self.layout.modules.values():
                if module in LAYERS:
                    LAYERS[module].hidden = None

    def _check_runs_once(self) -> None:
        """Refuse gradient checkpointing: a layer that runs again finds other facts, or none."""
        for module in self.model.modules():
            if module.training and getattr(module, "gradient_checkpointing", False):
                raise ConfigError(
                    "Expected a model without gradient checkpointing to read facts, got one that "
                    "has it: its gradients would be wrong. Call gradient_checkpointing_disable() "
                    "on it; kblam train --gradient-checkpointing leaves such layers out."
                )

    def detach(self) -> PreTrainedModel:
        """Take the knowledge layers off again; the model is what it was before.

        Detaching once more does nothing: the model may have other layers by then.
        """
        if self._hooks:
            for hook in self._hooks:
                hook.remove()
            for module in self.layout.modules.values():
                LAYERS.pop(module, None)
            self._config._attn_implementation = self._base
            self._hooks = []
        return self.model


def _session_of(decoder: AttachedDecoder | None) -> FactSession | None:
    return None if decoder is None else decoder.session


def check_fit(config: KnowledgeConfig, layout: AttentionLayout) -> None:
    """Check that an adapter is for a decoder of this shape.

    Raises:
        AdapterMismatchError: It is for another one.
    """
    wanted = (config.hidden_size, config.num_heads, config.head_dim)
    have = (layout.hidden_size, layout.num_heads, layout.head_dim)
    if wanted != have:
        raise AdapterMismatchError(
            "Expected a base model with (hidden size, heads, head dimension) = "
            f"{wanted}, got {have}. Use the base model that this adapter was trained for."
        )
    missing = [index for index in config.knowledge_layers if index not in layout.modules]
    if missing:
        raise AdapterMismatchError(
            f"The adapter reads facts in the layers {list(config.knowledge_layers)}, but the base "
            f"model has no attention in {missing} (it has some in {list(layout.modules)}). "
            "Use the base model that this adapter was trained for."
        )
