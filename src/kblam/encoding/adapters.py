"""Linear adapters from encoder space to a decoder layer's keys and values."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["LinearAdapter"]


class LinearAdapter(nn.Module):
    """One linear map from encoder space to the heads of one layer (KBLaM, section 4, eq. 4).

    Args:
        dimension: E, of the encoder.
        num_heads: G.
        head_dim: d.
        std: Of the initial weights; the bias starts at zero.
    """

    def __init__(self, dimension: int, num_heads: int, head_dim: int, std: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.weight = nn.Parameter(torch.randn(num_heads * head_dim, dimension) * std)
        self.bias = nn.Parameter(torch.zeros(num_heads * head_dim))

    def per_head(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The map by heads: weight (G, d, E) and bias (G, d)."""
        shape = (self.num_heads, self.head_dim)
        return self.weight.to(dtype).view(*shape, -1), self.bias.to(dtype).view(*shape)

    def forward(self, encoded: Tensor) -> Tensor:
        """Make knowledge tokens.

        Args:
            encoded: (B or 1, M, E).

        Returns:
            (B or 1, G, M, d).
        """
        rows = F.linear(encoded, self.weight.to(encoded.dtype), self.bias.to(encoded.dtype))
        return rows.view(*rows.shape[:2], self.num_heads, self.head_dim).transpose(1, 2)
