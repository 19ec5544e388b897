"""Reading adapters in the layout of the published KBLaM implementation.

That layout holds ``projector_k`` and ``projector_v``, linear maps from encoder space to one
block of H * d numbers per knowledge layer, and one ``q_proj_new`` per knowledge layer.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from kblam.config import KnowledgeConfig
from kblam.decoder.modules import KnowledgeAdapter
from kblam.decoder.query_heads import FullQueryHead
from kblam.encoding.adapters import LinearAdapter
from kblam.errors import AdapterError

__all__ = ["adapter_from_published"]


def adapter_from_published(
    tensors: Mapping[str, Tensor],
    *,
    num_heads: int,
    head_dim: int,
    knowledge_layers: tuple[int, ...],
    scale_factor: float | None,
    encoder: str = "published",
) -> KnowledgeAdapter:
    """Build an adapter from a published checkpoint's tensors.

    Args:
        tensors: ``encoder.projector_{k,v}.{weight,bias}`` and, where queries have heads of
            their own, ``q_proj_new.{layer}.weight``.
        num_heads: H of the base model.
        head_dim: d of the base model.
        knowledge_layers: Layers that attend to facts, ascending.
        scale_factor: C of ``log C - log M``, or None.
        encoder: Name of the sentence encoder that the adapter was trained with.

    Raises:
        AdapterError: A tensor is missing or has another shape than the layout says.
    """
    width = num_heads * head_dim
    blocks, dimension, hidden = _sizes(tensors, knowledge_layers, width)
    own_queries = _has_own_queries(tensors)
    adapter = KnowledgeAdapter(
        KnowledgeConfig(
            encoder=encoder,
            encoder_dimension=dimension,
            knowledge_layers=knowledge_layers,
            hidden_size=hidden,
            num_heads=num_heads,
            num_key_heads=num_heads,
            head_dim=head_dim,
            scale_factor=scale_factor,
            key_norm=True,
            query_head="full" if own_queries else "shared",
        )
    )
    with torch.no_grad():
        for position, layer in enumerate(knowledge_layers):
            parts = adapter.layer(layer)
            _copy_block(parts.key, tensors, "projector_k", position, width)
            _copy_block(parts.value, tensors, "projector_v", position, width)
            if isinstance(parts.query, FullQueryHead):
                parts.query.weight.copy_(_tensor(tensors, f"q_proj_new.{layer}.weight"))
        if blocks > len(knowledge_layers):
            spare = blocks - len(knowledge_layers)
            adapter.spare_key = LinearAdapter(dimension, spare * num_heads, head_dim, std=0.0)
            start = len(knowledge_layers) * width
            adapter.spare_key.weight.copy_(tensors["encoder.projector_k.weight"][start:])
            adapter.spare_key.bias.copy_(tensors["encoder.projector_k.bias"][start:])
    return adapter


def _has_own_queries(tensors: Mapping[str, Tensor]) -> bool:
    return any(name.startswith("q_proj_new.") for name in tensors)


def _sizes(
    tensors: Mapping[str, Tensor], knowledge_layers: tuple[int, ...], width: int
) -> tuple[int, int, int]:
    """Blocks of the projections, encoder dimension and hidden size, once all shapes fit them."""
    keys = _tensor(tensors, "encoder.projector_k.weight")
    blocks, remainder = divmod(keys.shape[0], width) if keys.dim() == 2 else (0, 0)
    if remainder or blocks < len(knowledge_layers):
        raise AdapterError(
            f"Expected blocks of {width} rows for {len(knowledge_layers)} knowledge layers in "
            f"encoder.projector_k.weight, got the shape {tuple(keys.shape)}."
        )
    rows, dimension = keys.shape
    hidden = width
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.projector_k.bias": (rows,),
        "encoder.projector_v.weight": (rows, dimension),
        "encoder.projector_v.bias": (rows,),
    }
    if _has_own_queries(tensors):
        queries = [f"q_proj_new.{layer}.weight" for layer in knowledge_layers]
        first = _tensor(tensors, queries[0])
        hidden = first.shape[1] if first.dim() == 2 else width
        shapes |= dict.fromkeys(queries, (width, hidden))
    for name, shape in shapes.items():
        if (found := tuple(_tensor(tensors, name).shape)) != shape:
            raise AdapterError(
                f"Expected the shape {shape} of {name} in a published checkpoint, got {found}. "
                "Give the heads and knowledge layers that it was trained with."
            )
    return blocks, dimension, hidden


def _tensor(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise AdapterError(
            f"Expected the tensor {name} in the published checkpoint, got {sorted(tensors)}."
        )
    return tensors[name]


def _copy_block(
    target: LinearAdapter, tensors: Mapping[str, Tensor], name: str, position: int, width: int
) -> None:
    rows = slice(position * width, (position + 1) * width)
    target.weight.copy_(tensors[f"encoder.{name}.weight"][rows])
    target.bias.copy_(tensors[f"encoder.{name}.bias"][rows])
