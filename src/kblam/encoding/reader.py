"""The judgement's own reading of questions: copies of an encoder's last layers, trained.

A frozen encoder puts "Against whom does it fight most bitterly?" far from "archnemesis", and what
its pooled vector does not hold no judgement can find in it. So the question without its names may
be read by layers of the adapter's own above the encoder's first ones, which stay as they are, as
do the vectors of facts and properties: stores know nothing of it.
"""

from __future__ import annotations

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

    def forward(self, states: Tensor, mask: Tensor, heads: int) -> Tensor:
        """Let each text's tokens see each other.

        Args:
            states: (N, T, E).
            mask: True on tokens, (N, T).
            heads: Of attention; divides E.

        Returns:
            (N, T, E).
        """
        shape = (*states.shape[:2], 3, heads, states.shape[2] // heads)
        query, key, value = self.qkv(states).view(shape).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, mask[:, None, None])
        mixed = self.mixed(mixed.transpose(1, 2).flatten(2))
        states = self.mixed_norm(states + mixed)
        made: Tensor = self.norm(states + self.down(F.gelu(self.up(states))))
        return made


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
            states: What the encoder's first layers make, (N, T, E).
            mask: True on tokens, (N, T).
            heads: The encoder's.

        Returns:
            (N, E) float32, rows of unit length.
        """
        for layer in self.parts():
            states = layer(states, mask, heads)
        shown = mask.unsqueeze(-1)
        pooled = (states.float() * shown).sum(1) / shown.sum(1)
        return F.normalize(pooled, dim=-1)
