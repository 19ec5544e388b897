"""Extractors of LangChain and LlamaIndex, known by what they can do.

No framework is imported: where one of its extractors is, its documents have been imported already.
"""

from __future__ import annotations

import asyncio
import copy
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kblam.extraction.documents import Document
from kblam.extraction.statements import Passages, Statement, property_statements
from kblam.knowledge import verbalise

__all__ = ["GraphTransformer", "NodeTransform"]

# The types that frameworks give to what has none.
_NO_TYPES = frozenset({"", "entity", "node", "__entity__"})
_NODES, _RELATIONS = "nodes", "relations"


class GraphTransformer:
    """Anything with LangChain's ``convert_to_graph_documents``.

    Args:
        transformer: Is called once, with all passages.
    """

    cuts = False
    needs_evidence = False

    def __init__(self, transformer: Any) -> None:
        self._transformer = transformer

    def extract(self, passages: Passages) -> Iterator[Statement]:
        """Yield the nodes' types and properties, the relationships and their properties."""
        documents = [_langchain_document(passage) for passage in passages]
        for index, graph in enumerate(self._transformer.convert_to_graph_documents(documents)):
            passage = _passage_of(graph, index, passages, documents)
            for node in graph.nodes:
                yield from _node(passage, _name(node), node.type, node.properties or {})
            for edge in graph.relationships:
                ends = (_name(edge.source), _name(edge.target))
                yield from _edge(passage, *ends, edge.type, edge.properties or {})


class NodeTransform:
    """Any LlamaIndex extractor of paths: a component that puts a graph in nodes' metadata.

    Args:
        transform: Is called once, with copies of the nodes. Relations between chunks of text, as
            ``ImplicitPathExtractor`` makes them, are no facts.
    """

    cuts = False
    needs_evidence = False

    def __init__(self, transform: Any) -> None:
        self._transform = transform

    def extract(self, passages: Passages) -> Iterator[Statement]:
        """Yield the entities' labels and properties, the relations and their properties."""
        nodes = [_llama_index_node(passage) for passage in passages]
        # What was there before the extractor came is the text's, not the entities'.
        inherited = [dict(node.metadata) for node in nodes]
        chunks = {node.node_id for node in nodes}
        by_id = {node.node_id: i for i, node in enumerate(nodes)}
        for position, node in enumerate(_called(self._transform, nodes)):
            index = by_id.get(node.node_id, position)
            passage = passages[index] if index < len(passages) else None
            own = inherited[index] if index < len(passages) else {}
            entities = {entity.id: entity for entity in node.metadata.get(_NODES, ())}
            for entity in entities.values():
                yield from _node(passage, _name(entity), entity.label, _without(entity, own))
            for edge in node.metadata.get(_RELATIONS, ()):
                if edge.source_id in chunks or edge.target_id in chunks:
                    continue
                ends = (_end(entities, edge.source_id), _end(entities, edge.target_id))
                yield from _edge(passage, *ends, edge.label, _without(edge, own))


def _node(
    passage: Document | None, name: str, kind: str, properties: Mapping[str, Any]
) -> Iterator[Statement]:
    if str(kind).lower() not in _NO_TYPES and name != kind:
        yield Statement(passage, name, "type", str(kind))
    own = {key: value for key, value in properties.items() if key not in ("id", "name")}
    yield from property_statements(passage, name, own)


def _edge(
    passage: Document | None, source: str, target: str, label: str, properties: Mapping[str, Any]
) -> Iterator[Statement]:
    yield Statement(passage, source, label, target, relation=True)
    statement = f"{source} {verbalise(label)} {target}"
    yield from property_statements(passage, statement, properties)


def _name(node: Any) -> str:
    """Return a node's name: its own, one among its properties, or its identifier."""
    properties = getattr(node, "properties", None) or {}
    return str(getattr(node, "name", None) or properties.get("name") or node.id)


def _end(entities: Mapping[str, Any], identifier: str) -> str:
    return _name(entities[identifier]) if identifier in entities else str(identifier)


def _without(item: Any, inherited: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties that are not the text's metadata."""
    return {
        key: value
        for key, value in (item.properties or {}).items()
        if not (key in inherited and inherited[key] == value) and not key.startswith("_")
    }


def _passage_of(
    graph: Any, index: int, passages: Passages, documents: list[Any]
) -> Document | None:
    source = getattr(graph, "source", None)
    for passage, document in zip(passages, documents, strict=True):
        if source is document:
            return passage
    if source is None:
        return passages[0] if len(passages) == 1 else None
    text = getattr(source, "page_content", None)
    if index < len(passages) and passages[index].text == text:
        return passages[index]
    return next((passage for passage in passages if passage.text == text), None)


def _langchain_document(passage: Document) -> Any:
    if hasattr(passage.original, "page_content"):
        return passage.original
    kind = getattr(sys.modules.get("langchain_core.documents"), "Document", _PlainDocument)
    return kind(page_content=passage.text, metadata={**passage.metadata, "source": passage.id})


def _llama_index_node(passage: Document) -> Any:
    if hasattr(passage.original, "get_content"):
        return copy.deepcopy(passage.original)  # extractors write into the metadata
    kind = getattr(sys.modules.get("llama_index.core.schema"), "TextNode", _PlainNode)
    return kind(text=passage.text, metadata=dict(passage.metadata))


def _called(transform: Any, nodes: list[Any]) -> Any:
    """Call a component, whose extractors run an event loop, from inside of one as well."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return transform(nodes)
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(transform, nodes).result()


class _PlainDocument:
    """What a transformer that is none of LangChain's own is given."""

    def __init__(self, page_content: str, metadata: dict[str, Any]) -> None:
        self.page_content = page_content
        self.metadata = metadata


class _PlainNode:
    """What a component that is none of LlamaIndex's own is given."""

    def __init__(self, text: str, metadata: dict[str, Any]) -> None:
        self.text = text
        self.metadata = metadata
        self.node_id = str(id(self))

    def get_content(self) -> str:
        """Return the text."""
        return self.text
