"""The judgement's own reading of texts: copies of an encoder's last layers, trained.

A frozen encoder puts "Against whom does it fight most bitterly?" far from "archnemesis", and what
its pooled vector does not hold no judgement can find in it. So the question without its names may
be read by layers of the adapter's own above the encoder's first ones, which stay as they are, and
so may properties. Stores know nothing of it: the vectors of facts are the encoder's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["EncoderLayer", "QuestionReader"]

# BERT's own, in every layer norm.
_EPS = 1e-12


class EncoderLayer(nn.Module):
    """A layer of a BERT encoder, with the same operations and the same order.

    Args:
        width: E, of a token's state; four times as many inside.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.mixed = nn.Linear(width, width)
        self.mixed_norm = nn.LayerNorm(width, eps=_EPS)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.norm = nn.LayerNorm(width, eps=_EPS)

    def forward(self, tokens: Tensor, mask: Tensor, heads: int) -> Tensor:
        """Let each text's tokens see each other.

        Args:
            tokens: Of all texts, one after the other without padding, (M, E).
            mask: Where they stand in N texts of at most T tokens, (N, T), M of them true.
            heads: Of attention; divides E.

        Returns:
            (M, E).
        """
        made = self.qkv(tokens)
        # Attention alone needs the texts apart: all else would compute what is padding.
        padded = made.new_zeros((*mask.shape, made.shape[-1])).index_put((mask,), made)
        shape = (*mask.shape, 3, heads, tokens.shape[-1] // heads)
        query, key, value = padded.view(shape).permute(2, 0, 3, 1, 4)
        # PyTorch's fused attention takes far longer for heads so small, there and back.
        scores = (query @ key.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
        shares = scores.masked_fill(~mask[:, None, None], -torch.inf).softmax(-1)
        mixed = shares.to(value.dtype) @ value
        mixed = self.mixed(mixed.transpose(1, 2).flatten(2)[mask])
        tokens = self.mixed_norm(tokens + mixed)
        found: Tensor = self.norm(tokens + self.down(F.gelu(self.up(tokens))))
        return found


class QuestionReader(nn.Module):
    """The last layers of an encoder, to be trained.

    Args:
        width: E.
        layers: How many.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([EncoderLayer(width) for _ in range(layers)])

    def parts(self) -> list[EncoderLayer]:
        """The layers, the first one first."""
        return [layer for layer in self.layers if isinstance(layer, EncoderLayer)]

    def forward(self, states: Tensor, mask: Tensor, heads: int) -> Tensor:
        """Read texts whose first layers are done.

        Args:
            states: What the encoder's first layers make, (N, T, E) float32, padded.
            mask: True on tokens, (N, T).
            heads: The encoder's.

        Returns:
            (N, E) float32, rows of unit length.
        """
        tokens = states[mask]
        for layer in self.parts():
            tokens = layer(tokens, mask, heads)
        text = mask.nonzero()[:, 0]
        sums = states.new_zeros((len(mask), states.shape[-1])).index_add(0, text, tokens.float())
        return F.normalize(sums / mask.sum(1, keepdim=True), dim=-1)
