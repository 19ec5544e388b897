"""Compiling the frozen base for training, around the parts that facts are read in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from kblam.decoder import AttachedDecoder

__all__ = ["compiled", "parts_without_facts"]


@contextmanager
def compiled(decoder: AttachedDecoder, *, backend: str = "inductor") -> Iterator[None]:
    """Run the base's layers through ``torch.compile`` inside the ``with`` block.

    Layers that read facts keep their attention as it is, because facts come and go by hooks and
    a session outside the graph; what lies around it in such a layer is compiled, and the other
    layers whole. No weight, name or hook of the model changes.

    Args:
        decoder: The base with the adapter in training attached.
        backend: Of ``torch.compile``.
    """
    parts = parts_without_facts(decoder)
    for part in parts:
        part.compile(backend=backend, dynamic=True)
    try:
        yield
    finally:
        for part in parts:
            part._compiled_call_impl = None


def parts_without_facts(decoder: AttachedDecoder) -> list[nn.Module]:
    """Layers that read no facts, and of the others all but their attention; none inside another.

    Args:
        decoder: The base with an adapter attached.
    """
    parents = {child: module for module in decoder.model.modules() for child in module.children()}
    found: list[nn.Module] = []
    for index, attention in decoder.layout.modules.items():
        layer = parents[attention]
        if index in decoder.adapter.config.knowledge_layers:
            found += [child for child in layer.children() if child is not attention]
        else:
            found.append(layer)
    return found
