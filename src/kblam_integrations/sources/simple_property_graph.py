"""LlamaIndex's ``SimplePropertyGraphStore``: nodes and relations, both with properties."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from kblam.knowledge import Triple
from kblam_integrations.sources._graph_facts import (
    SOURCE,
    edge_facts,
    node_facts,
    own_properties,
    source_metadata,
)
from kblam_integrations.sources._moments import one_moment, undisturbed
from kblam_integrations.sources._values import fingerprint

if TYPE_CHECKING:
    from llama_index.core.graph_stores import SimplePropertyGraphStore
    from llama_index.core.graph_stores.types import LabelledNode, Relation

__all__ = ["SimplePropertyGraphSource"]


class _Graph(NamedTuple):
    """What a graph held at one moment."""

    nodes: dict[str, LabelledNode]
    relations: dict[str, Relation]
    triplets: set[tuple[str, str, str]]


class SimplePropertyGraphSource:
    """The facts of a ``SimplePropertyGraphStore``.

    ============================  ===================================================
    in the graph                  as a fact
    ============================  ===================================================
    a relation                    (its source's name, its label, its target's name)
    a property of an entity       (its name, the property, the property's value)
    the label of an entity        (its name, ``type``, the label), unless it is the
                                  default ``entity``
    a property of a relation      (``Ann works at Acme``, the property, its value)
    ============================  ===================================================

    Chunks of text, what links entities to them, and properties that an entity has from the
    chunk it was found in are no facts; the chunk's id is in the fact's metadata as ``source``.
    To ask whether the graph changed takes one pass over it: about 10 ms for 10,000
    facts. Another thread may change it meanwhile.

    Args:
        store: Is only read.
    """

    def __init__(self, store: SimplePropertyGraphStore) -> None:
        self._store = store

    def triples(self) -> Iterator[Triple]:
        """Read every fact: first the entities' properties, then the relations.

        Raises:
            StoreError: The graph changed during every one of several tries.
        """
        return iter(one_moment(self._facts, self.state))

    def count(self) -> int:
        """Return about how many facts there are: the relations and the entities' properties."""
        graph = self._graph()
        return len(graph.triplets) + sum(len(node.properties) for node in graph.nodes.values())

    def state(self) -> Hashable:
        """Return a hash of what the facts of all nodes and relations are made of.

        Raises:
            FactError: A property refers to itself, or holds others deeper than can be read.
            StoreError: The graph changed during every one of several tries.
        """
        return undisturbed(self._hash)

    def _graph(self) -> _Graph:
        # Copies of plain containers, which no other thread gets a turn in the middle of.
        graph = self._store.graph
        return _Graph(dict(graph.nodes), dict(graph.relations), set(graph.triplets))

    def _hash(self) -> int:
        graph = self._graph()
        nodes = tuple(
            (key, _name(node), node.label, fingerprint(node.properties))
            for key, node in graph.nodes.items()
        )
        relations = tuple(
            (key, edge.label, fingerprint(edge.properties)) for key, edge in graph.relations.items()
        )
        return hash((nodes, relations, frozenset(graph.triplets)))

    def _facts(self) -> Iterator[Triple]:
        graph = self._graph()
        for node in graph.nodes.values():
            if not _is_chunk(node):
                yield from _node_facts(graph, node)
        for subject, relation, target in _edges(graph):
            yield from _edge_facts(graph, subject, relation, target)


def _edges(graph: _Graph) -> Iterator[tuple[str, Relation | str, str]]:
    """Yield the relations between entities with the names of their ends."""
    # A set, sorted to come in the same order in every process.
    for subject_id, label, target_id in sorted(graph.triplets):
        subject, target = graph.nodes.get(subject_id), graph.nodes.get(target_id)
        if _is_chunk(subject) or _is_chunk(target):
            continue
        relation: Relation | str = label
        found = graph.relations.get(f"{subject_id}_{label}_{target_id}")
        # Other ends may make the same key: a, R, R_b and a_R, R, b.
        if found is not None and (found.source_id, found.target_id) == (subject_id, target_id):
            relation = found
        # The store's delete() may leave a relation whose ends are gone: their ids, which
        # are names, are what is left of them.
        yield _name(subject) or subject_id, relation, _name(target) or target_id


def _node_facts(graph: _Graph, node: LabelledNode) -> Iterator[Triple]:
    properties = _own(graph, node.properties)
    return node_facts(_name(node), [node.label], properties, source_metadata(node.properties))


def _edge_facts(
    graph: _Graph, subject: str, relation: Relation | str, target: str
) -> Iterator[Triple]:
    if isinstance(relation, str):
        return edge_facts(subject, relation, target, {}, {})
    properties = _own(graph, relation.properties)
    metadata = source_metadata(relation.properties)
    return edge_facts(subject, relation.label, target, properties, metadata)


def _own(graph: _Graph, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties that are not the text chunk's."""
    chunk = graph.nodes.get(properties.get(SOURCE, ""))
    return own_properties(properties, {} if chunk is None else chunk.properties)


def _is_chunk(node: LabelledNode | None) -> bool:
    return node is not None and hasattr(node, "text")


def _name(node: LabelledNode | None) -> str:
    """Return the name of an entity, "" where there is none."""
    return str(getattr(node, "name", "")).strip()
