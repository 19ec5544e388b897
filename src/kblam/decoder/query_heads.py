"""Query heads: full matrices, or LoRA on the layer's own query projection."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kblam.config import KnowledgeConfig
from kblam.decoder.changes import state_of
from kblam.decoder.layout import query_projection

__all__ = ["FullQueryHead", "LowRankQueryHead", "make_query_head", "query_norm"]


class FullQueryHead(nn.Module):
    """A query projection of its own, initialised from the layer's (KBLaM, section 4).

    Args:
        hidden_size: D.
        width: H * d.
        bias: Whether the layer's own projection has a bias.
    """

    def __init__(self, hidden_size: int, width: int, *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, hidden_size) * hidden_size**-0.5)
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None
        self._converted: tuple[object, list[Tensor]] | None = None

    def forward(self, hidden: Tensor) -> Tensor:
        """Project hidden states (B, T, D) to queries (B, T, H * d)."""
        return F.linear(hidden, *self._parts(hidden.dtype))

    def _parts(self, dtype: torch.dtype) -> list[Tensor]:
        """Weight, and bias if there is one; outside of training they are converted once."""
        parts: list[Tensor] = list(self.parameters())
        if self.weight.dtype == dtype:
            return parts
        if torch.is_grad_enabled():
            return [part.to(dtype) for part in parts]
        state = (dtype, state_of(parts))
        if self._converted is None or self._converted[0] != state:
            self._converted = (state, [part.to(dtype) for part in parts])
        return self._converted[1]


class LowRankQueryHead(nn.Module):
    """PEFT's LoRA layer over the layer's query projection, whose memory it shares.

    Only the low-rank factors are trained and saved; the projection comes from the base.

    Args:
        weight: The base's query projection, (H * d, D).
        bias: (H * d), or None.
        rank: Of the update.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, rank: int) -> None:
        super().__init__()
        from peft import LoraConfig
        from peft.tuners.lora.layer import Linear as LoraLinear

        base = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
        base.weight = nn.Parameter(weight, requires_grad=False)
        if bias is not None:
            base.bias = nn.Parameter(bias, requires_grad=False)
        config = LoraConfig(r=rank, lora_alpha=2 * rank)
        lora = LoraLinear(base, "default", config=config, r=rank, lora_alpha=2 * rank)
        self.lora_A = lora.lora_A
        self.lora_B = lora.lora_B
        # Outside the module tree: the base's weights are neither trained nor saved again.
        object.__setattr__(self, "_lora", lora)

    def forward(self, hidden: Tensor) -> Tensor:
        """Project hidden states (B, T, D) to queries (B, T, H * d)."""
        lora: nn.Module = self.__dict__["_lora"]
        output: Tensor = lora(hidden)
        return output.to(hidden.dtype)


def make_query_head(config: KnowledgeConfig, module: nn.Module | None) -> nn.Module | None:
    """The query head that a configuration asks for.

    Args:
        config: The adapter's shape.
        module: The attention module to start from, or None for weights yet to be loaded.

    Raises:
        ConfigError: The module's query projection is not known, or LoRA lacks a module.
    """
    if config.query_head == "shared":
        return None
    width = config.num_heads * config.head_dim
    if module is None:
        return FullQueryHead(config.hidden_size, width, bias=False)
    weight, bias = query_projection(module, config.num_heads, config.head_dim)
    if config.query_head == "lora":
        return LowRankQueryHead(weight, bias, config.lora_rank)
    head = FullQueryHead(config.hidden_size, width, bias=bias is not None)
    with torch.no_grad():
        head.weight.copy_(weight)
        if head.bias is not None and bias is not None:
            head.bias.copy_(bias)
    return head


def query_norm(module: nn.Module, query: Tensor, num_heads: int, head_dim: int) -> Tensor:
    """Normalise queries as the layer does its own, where it does.

    Args:
        module: The attention module.
        query: (B, T, H * d).
        num_heads: H.
        head_dim: d.

    Returns:
        (B, H, T, d).
    """
    batch, length, width = query.shape
    norm = getattr(module, "q_norm", None) or getattr(module, "q_layernorm", None)
    if not isinstance(norm, nn.Module):
        return query.view(batch, length, num_heads, head_dim).transpose(1, 2)
    size = next(iter(norm.parameters())).numel() if any(True for _ in norm.parameters()) else 0
    if size == width:
        # OLMo 2 normalises all heads together.
        query = norm(query)
        return query.view(batch, length, num_heads, head_dim).transpose(1, 2)
    return norm(query.view(batch, length, num_heads, head_dim)).transpose(1, 2)  # type: ignore[no-any-return]
