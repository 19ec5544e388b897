"""Which source reads an object of LlamaIndex."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from llama_index.core.graph_stores import SimpleGraphStore, SimplePropertyGraphStore
from llama_index.core.graph_stores.types import PropertyGraphStore
from llama_index.core.indices.knowledge_graph import KnowledgeGraphIndex
from llama_index.core.indices.property_graph import PropertyGraphIndex

from kblam.knowledge import TripleSource
from kblam_integrations.sources._unsupported import unsupported
from kblam_integrations.sources.property_graph import PropertyGraphSource
from kblam_integrations.sources.simple_graph import SimpleGraphSource
from kblam_integrations.sources.simple_property_graph import SimplePropertyGraphSource

__all__ = ["source_of"]

_SUPPORTED = (
    "a LlamaIndex SimpleGraphStore or PropertyGraphStore, or a graph store over a neo4j driver"
)
# Sources that read the database behind a graph store, which gives more than the store does.
_BEHIND = (("neo4j", "cypher"), ("ladybug", "ladybug"))


def source_of(kb: Any) -> TripleSource | None:
    """Return the source of a LlamaIndex graph store or index, None for what is neither.

    Raises:
        UnsupportedSourceError: It is an index on a graph store that no source reads.
    """
    held = kb
    if isinstance(kb, KnowledgeGraphIndex):
        held = kb.graph_store
    elif isinstance(kb, PropertyGraphIndex):
        held = kb.property_graph_store
    if isinstance(held, SimpleGraphStore):
        return SimpleGraphSource(held)
    if isinstance(held, SimplePropertyGraphStore):
        return SimplePropertyGraphSource(held)
    if held is not kb and (found := _behind(held)):
        return found
    if isinstance(held, PropertyGraphStore):
        return PropertyGraphSource(held)
    if held is not kb:
        raise unsupported(held, f"The {type(kb).__name__} keeps its facts in ", _SUPPORTED)
    return None


def _behind(held: Any) -> TripleSource | None:
    for package, module in _BEHIND:
        if sys.modules.get(package) is not None:
            reader = import_module(f"kblam_integrations.sources.{module}")
            found: TripleSource | None = reader.source_of(held)
            if found is not None:
                return found
    return None
