"""The trained parts together: query heads, key and value adapters, and the heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kblam.config import KnowledgeConfig
from kblam.decoder.answer_heads import PointerHead, RefusalHead
from kblam.decoder.changes import state_of
from kblam.decoder.query_heads import make_query_head
from kblam.decoder.selection_heads import MatchHead, SelectionHead
from kblam.encoding.adapters import LinearAdapter
from kblam.encoding.reader import QuestionReader

if TYPE_CHECKING:
    from kblam.decoder.layout import AttentionLayout

__all__ = ["KnowledgeAdapter", "KnowledgeLayer"]

# A fact that selection is sure to be beside the point still leaves a trace to refuse by.
PRIOR_FLOOR = -5.0

_Linear = tuple[Tensor, Tensor]


class KnowledgeLayer(nn.Module):
    """What one decoder layer needs to attend to facts.

    Args:
        config: The adapter's shape.
        query: Its query head, or None to use the layer's own queries.
    """

    def __init__(self, config: KnowledgeConfig, query: nn.Module | None) -> None:
        super().__init__()
        size = (config.encoder_dimension, config.num_key_heads, config.head_dim)
        # Unit vectors of E numbers: std 1 gives keys of the size of the base's own; values
        # start small, so that an untrained adapter hardly disturbs the base.
        self.key = LinearAdapter(*size, std=1.0)
        self.value = LinearAdapter(*size, std=0.1)
        self.query = query
        self.prior_scale = nn.Parameter(torch.ones(())) if config.selection else None


class KnowledgeAdapter(nn.Module):
    """All trained parts for one decoder. Its state is what an adapter file holds.

    Args:
        config: The adapter's shape.
        layout: The decoder's attention, to shape query heads after; None where they are
            loaded or shared.
    """

    def __init__(self, config: KnowledgeConfig, layout: AttentionLayout | None = None) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleDict(
            {
                str(layer): KnowledgeLayer(
                    config,
                    make_query_head(config, layout.modules[layer] if layout else None),
                )
                for layer in config.knowledge_layers
            }
        )
        # The published layout can have a block of keys that no layer reads but that takes
        # part in the LayerNorm over the whole row.
        self.spare_key: LinearAdapter | None = None
        self.selection = SelectionHead(config) if config.selection else None
        matching = config.selection is not None and config.selection.matching
        self.match = MatchHead(config) if matching else None
        self.reader = _make_reader(config)
        self.pointer = PointerHead(config) if config.grounded else None
        self.refusal = RefusalHead(config) if config.grounded else None
        self._folded: tuple[object, _Linear, _Linear] | None = None

    def layer(self, index: int) -> KnowledgeLayer:
        """The parts of one decoder layer."""
        layer = self.layers[str(index)]
        assert isinstance(layer, KnowledgeLayer)
        return layer

    def key_blocks(self) -> list[LinearAdapter]:
        """The key adapters of all layers, in order, the spare one last."""
        blocks = [self.layer(index).key for index in self.config.knowledge_layers]
        return blocks + ([self.spare_key] if self.spare_key is not None else [])

    def folded(self, dtype: torch.dtype) -> tuple[_Linear, _Linear]:
        """The key adapters of all L layers as one linear map, and the value adapters.

        Outside of training they are put together once, and again when they were changed.

        Returns:
            Weight (L * G * d, E) and bias (L * G * d) of the keys, and of the values.
        """
        layers = [self.layer(index) for index in self.config.knowledge_layers]
        if torch.is_grad_enabled():
            return _fold([p.key for p in layers], dtype), _fold([p.value for p in layers], dtype)
        maps = [part for p in layers for part in (p.key, p.value)]
        state = (dtype, state_of(weight for part in maps for weight in part.parameters()))
        if self._folded is None or self._folded[0] != state:
            self._folded = (
                state,
                _fold([p.key for p in layers], dtype),
                _fold([p.value for p in layers], dtype),
            )
        return self._folded[1:]


def _make_reader(config: KnowledgeConfig) -> QuestionReader | None:
    layers = config.selection.reader_layers if config.selection is not None else 0
    return QuestionReader(config.encoder_dimension, layers) if layers else None


def _fold(maps: Sequence[LinearAdapter], dtype: torch.dtype) -> _Linear:
    return (
        torch.cat([part.weight for part in maps]).to(dtype),
        torch.cat([part.bias for part in maps]).to(dtype),
    )
