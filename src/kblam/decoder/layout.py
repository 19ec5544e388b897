"""What kblam needs to know of a decoder's attention modules, for any family."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kblam.errors import ConfigError

__all__ = ["AttentionLayout", "attention_layout", "query_projection", "text_decoder"]

_PROJECTIONS = ("q_proj", "qkv_proj", "query_key_value")


@dataclass(frozen=True)
class AttentionLayout:
    """The attention of one decoder.

    Attributes:
        modules: Attention modules by layer index; hybrids have some layers without.
        hidden_size: D.
        num_layers: All decoder layers, attention or not.
        num_heads: H.
        num_key_value_heads: G of the base.
        head_dim: d.
    """

    modules: dict[int, nn.Module]
    hidden_size: int
    num_layers: int
    num_heads: int
    num_key_value_heads: int
    head_dim: int


def attention_layout(model: PreTrainedModel) -> AttentionLayout:
    """Find the self-attention modules of a decoder.

    Raises:
        ConfigError: No layer of the model reads keys and values through Transformers' attention
            interface, or the layers' heads are of several sizes.
    """
    modules, reason = _usable_modules(model)
    if not modules:
        raise ConfigError(
            f"Expected a decoder with attention layers that use Transformers' attention "
            f"interface, got {type(model).__name__} with none{reason}. Use another base model."
        )
    config = model.config.get_text_config(decoder=True)
    sizes = {
        getattr(module, "head_dim", None) or getattr(module, "head_size", None)
        for module in modules.values()
    }
    if len(sizes) > 1:
        raise ConfigError(
            f"Expected a decoder whose attention heads are all of one size, got "
            f"{type(model).__name__} with heads of {sorted(map(str, sizes))}. "
            "Use another base model."
        )
    heads = int(config.num_attention_heads)
    head_dim = sizes.pop() or getattr(config, "head_dim", None) or config.hidden_size // heads
    groups = getattr(config, "num_key_value_heads", None) or heads
    return AttentionLayout(
        modules=dict(sorted(modules.items())),
        hidden_size=int(config.hidden_size),
        num_layers=int(config.num_hidden_layers),
        num_heads=heads,
        num_key_value_heads=int(groups),
        head_dim=int(head_dim),
    )


def _usable_modules(model: PreTrainedModel) -> tuple[dict[int, nn.Module], str]:
    """The attention modules that can read facts, by layer, and why others cannot."""
    modules: dict[int, nn.Module] = {}
    reason = ""
    for name, module in model.named_modules():
        # Every family that uses the attention interface names its modules ...Attention and
        # gives them a layer_idx; convolutions and linear attention are named otherwise.
        if type(module).__name__.endswith("Attention") and "cross" not in name:
            index = getattr(module, "layer_idx", None)
            if not isinstance(index, int):
                continue
            problem = _problem(module)
            if problem is None:
                modules.setdefault(index, module)
            else:
                reason = f": {type(module).__name__} {problem}"
    return modules, reason


def _problem(module: nn.Module) -> str | None:
    """Why an attention module cannot read facts, or None."""
    # A family that uses the interface looks its function up in this registry, by its name in
    # the family's own file; others attend by themselves and would never see a fact.
    files = (sys.modules.get(part.__module__) for part in type(module).__mro__)
    if not any(hasattr(file, "ALL_ATTENTION_FUNCTIONS") for file in files):
        return "attends by itself"
    key, value = getattr(module, "k_proj", None), getattr(module, "v_proj", None)
    widths = {getattr(part, "out_features", None) for part in (key, value) if part is not None}
    if hasattr(module, "kv_b_proj") or len(widths) > 1:
        return "has values of another size than its keys, or makes both of one latent vector"
    if all(getattr(module, name, None) is None for name in _PROJECTIONS):
        return f"has none of the projections {', '.join(_PROJECTIONS)}"
    return None


def text_decoder(model: PreTrainedModel) -> nn.Module:
    """The part of a model that makes hidden states of tokens, without the output embedding."""
    decoder: nn.Module = model.get_decoder()
    if decoder is not model:
        return decoder
    # Llama 4 calls itself its decoder: its parts do not have the name that it looks for.
    embedding = model.get_input_embeddings()
    inner = [
        part
        for part in model.modules()
        if isinstance(part, PreTrainedModel) and any(m is embedding for m in part.modules())
    ]
    return inner[-1]


def query_projection(
    module: nn.Module, num_heads: int, head_dim: int
) -> tuple[Tensor, Tensor | None]:
    """The part of an attention module's projections that makes its queries.

    Args:
        module: The attention module.
        num_heads: H.
        head_dim: d.

    Returns:
        Weight (H * d, D) and bias (H * d) or None; views of the module's own parameters.

    Raises:
        ConfigError: The module projects its queries in a way not known here.
    """
    width = num_heads * head_dim
    pick: Callable[[Tensor], Tensor]
    linear: Any
    if hasattr(module, "q_proj"):
        linear = module.q_proj
        if linear.weight.shape[0] == 2 * width:
            # Qwen 3.5: each head's rows hold its query, then its output gate.
            pick = lambda t: t.view(num_heads, 2, head_dim, *t.shape[1:])[:, 0].flatten(0, 1)  # noqa: E731
        else:
            pick = lambda t: t  # noqa: E731
    elif hasattr(module, "qkv_proj"):
        linear = module.qkv_proj
        pick = lambda t: t[:width]  # noqa: E731
    elif hasattr(module, "query_key_value"):
        linear = module.query_key_value
        # GPT-NeoX: each head's rows hold its query, key and value.
        pick = lambda t: t.view(num_heads, 3, head_dim, *t.shape[1:])[:, 0].flatten(0, 1)  # noqa: E731
    else:
        linear = None
    weight = pick(linear.weight.detach()) if linear is not None else torch.zeros(0, 0)
    if linear is None or weight.shape[0] != width:
        raise ConfigError(
            f"Expected {type(module).__name__} to project {width} query numbers through q_proj, "
            "qkv_proj or query_key_value; it does not. Use query_head='shared' for this family."
        )
    bias = linear.bias
    return weight, None if bias is None else pick(bias.detach())
