"""The published form of rectangular attention, written plainly, to compare with.

As in the code published with KBLaM (Wang et al., ICLR 2025): every third layer has a query head
of its own and one key and one value per fact and query head; they are joined with the prompt's keys
and values at every step, all facts are scored by every token, and attention is eager. What the
facts say does not change what this costs, so their keys and values are drawn at random.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

_NAME = "published_form"
_EVERY = 3
_SCALE_FACTOR = 100.0
_DRAWN = 1000


class _KnowledgeLayer:
    """One layer's query head and facts.

    Args:
        config: The decoder's.
        num_facts: M.
    """

    def __init__(self, config: Any, num_facts: int) -> None:
        heads = config.num_attention_heads
        dim = getattr(config, "head_dim", None) or config.hidden_size // heads
        self.query = torch.randn(heads * dim, config.hidden_size) * config.hidden_size**-0.5
        # A few drawn and repeated: drawing billions of numbers takes minutes.
        drawn = torch.randn(2, 1, heads, min(num_facts, _DRAWN), dim)
        repeats = -(-num_facts // drawn.shape[3])
        facts = drawn.repeat(1, 1, 1, repeats, 1)[:, :, :, :num_facts]
        self.keys, self.values = facts[0].contiguous(), facts[1].contiguous()
        self.hidden: Tensor | None = None

    def capture(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Keep the layer's input, which its query head reads."""
        self.hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]


_LAYERS: dict[nn.Module, _KnowledgeLayer] = {}


def _forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, None]:
    batch, heads, length, dim = query.shape
    groups = heads // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask[..., : key.shape[2]]
    layer = _LAYERS.get(module)
    if layer is not None and layer.hidden is not None:
        fact_query = (layer.hidden @ layer.query.T).view(batch, length, heads, dim).transpose(1, 2)
        facts = layer.keys.expand(batch, -1, -1, -1)
        fact_scores = fact_query @ facts.transpose(2, 3) * scaling
        fact_scores = fact_scores + math.log(_SCALE_FACTOR) - math.log(facts.shape[2])
        scores = torch.cat([fact_scores, scores], dim=-1)
        value = torch.cat([layer.values.expand(batch, -1, -1, -1), value], dim=2)
    weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    return (weights @ value).transpose(1, 2).contiguous(), None


class PublishedForm:
    """A decoder that reads facts in the published form.

    Args:
        model: The decoder.
        num_facts: How many facts.
    """

    def __init__(self, model: PreTrainedModel, num_facts: int) -> None:
        self._model = model
        self._config = model.config.get_text_config(decoder=True)
        decoder = model.get_decoder()
        modules = [layer.self_attn for layer in decoder.layers][::_EVERY]
        self._layers = {module: _KnowledgeLayer(self._config, num_facts) for module in modules}
        self.nbytes = sum(
            layer.keys.nbytes + layer.values.nbytes for layer in self._layers.values()
        )
        AttentionInterface.register(_NAME, _forward)
        AttentionMaskInterface.register(_NAME, ALL_MASK_ATTENTION_FUNCTIONS["eager"])

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let the decoder read the facts inside the ``with`` block."""
        before = self._config._attn_implementation
        hooks = [
            module.register_forward_pre_hook(layer.capture, with_kwargs=True)
            for module, layer in self._layers.items()
        ]
        _LAYERS.update(self._layers)
        self._config._attn_implementation = _NAME
        try:
            yield
        finally:
            self._config._attn_implementation = before
            _LAYERS.clear()
            for hook in hooks:
                hook.remove()
