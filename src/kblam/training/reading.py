"""How training's questions become vectors: known ones, or by layers that are in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from kblam.encoding import BertSentences, QuestionReader, SentenceEncoder
from kblam.knowledge import TextEmbedder

__all__ = ["Read", "by_layers", "by_vectors", "start_as"]

#: Embeds B texts, (B, E).
Read = Callable[[Sequence[str]], Tensor]


def by_vectors(texts: Sequence[str], vectors: Tensor) -> Read:
    """Read texts by the vectors that they have.

    Args:
        texts: N texts.
        vectors: Of them, (N, E).
    """
    places = {text: place for place, text in enumerate(texts)}
    return lambda asked: vectors[[places[text] for text in asked]]


def by_layers(encoder: TextEmbedder, reader: QuestionReader) -> Read:
    """Read texts by layers that may be in training, above an encoder's first ones.

    Args:
        encoder: Run layer by layer.
        reader: In the place of its last layers.
    """
    layers = _layers(encoder)

    def read(texts: Sequence[str]) -> Tensor:
        device = next(reader.parameters()).device
        states, mask = layers.before_last(texts, len(reader.layers))
        # In the encoder's own format, as they will be used.
        reduced = layers.dtype != torch.float32
        with torch.autocast(device.type, layers.dtype, enabled=reduced):
            vectors: Tensor = reader(states.to(device), mask.to(device), layers.heads)
        return vectors

    return read


def start_as(reader: QuestionReader, encoder: TextEmbedder) -> None:
    """Give layers that are to be trained the weights of an encoder's last ones.

    They are frozen but for the steps that train them.
    """
    copies = nn.ModuleList(_layers(encoder).last(len(reader.layers)))
    reader.layers.load_state_dict(copies.state_dict())
    reader.requires_grad_(False)


def _layers(encoder: TextEmbedder) -> BertSentences:
    assert isinstance(encoder, SentenceEncoder)
    assert encoder.layers is not None
    return encoder.layers
